// After fork the child's handles answer `forked` and touch nothing; the parent goes on.
#include "rig.hpp"
#include "shard_folder.hpp"

#include <weft/shard_client.hpp>
#include <weft/shard_server.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>

using namespace weft;
using namespace weft::tests;

namespace {

/// The exit code of a child that runs `work`, which gives the number of its first failed check, or 0; 99: it threw. A
/// child that hangs is ended by its alarm.
template <class Work>
int in_child(Work work) {
  const auto child = ::fork();
  if (child == 0) {
    ::alarm(30);
    try {
      ::_exit(work());
    } catch (const std::exception& failure) {
      std::fprintf(stderr, "the child: %s\n", failure.what());
      ::_exit(99);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

template <class... Result>
errc code_of(std::future<std::tuple<error_code, Result...>> ended) {
  return to_errc(std::get<0>(soon(std::move(ended))));
}

/// The thread sanitizer ends a child that starts threads, as those of these tests do. In one of the address sanitizer
/// they wait for ever, now and then: that of g++ 12 forks without a hold on its allocator's locks, and a thread of the
/// parent's may have had one.
bool cannot_follow() {
#ifdef __SANITIZE_THREAD__
  std::fputs("skipped: the thread sanitizer does not follow the threads of a forked child\n", stderr);
  return true;
#elif defined __SANITIZE_ADDRESS__
  std::fputs("skipped: the address sanitizer's allocator may be locked in a forked child\n", stderr);
  return true;
#else
  return false;
#endif
}

} // namespace

TEST_CASE("after fork every operation of the child is `forked`, and the parent goes on" *
          doctest::skip(cannot_follow())) {
  rig<in_threads> with({.size = 4096});
  const auto region = with.allocate(4096);
  const auto remote = with.open("target");
  CHECK(with.ask("before") == "before");
  shard_client shards{with.client, {with.peer.address()}};
  const auto code = in_child([&] {
    auto& mine = with.client;
    if (code_of(mine.connect(with.peer.address(), outcome)) != errc::forked) return 1;
    if (code_of(with.link.open("region", outcome)) != errc::forked) return 2;
    if (code_of(with.link.write(region, remote.all(), {}, outcome)) != errc::forked) return 3;
    if (code_of(with.link.read(remote.all(), region, {}, outcome)) != errc::forked) return 4;
    if (code_of(with.link.request(bytes_of("x"), {}, outcome)) != errc::forked) return 5;
    if (code_of(mine.revoke("region", outcome)) != errc::forked) return 6;
    if (code_of(mine.close(1s, outcome)) != errc::forked) return 7;
    if (mine.allocate(byte_count{4096}).error() != errc::forked) return 8;
    if (mine.publish(region, "other", rights::read).error() != errc::forked) return 9;
    if (with.link.alive()) return 10;
    if (code_of(shards.stat("shard", outcome)) != errc::forked) return 11;
    if (code_of(shards.fetch("shard", region, {}, outcome)) != errc::forked) return 12;
    if (code_of(shards.put("shard", region, {}, outcome)) != errc::forked) return 13;
    if (code_of(shards.remove("shard", {}, outcome)) != errc::forked) return 14;
    with.link.close();
    return mine.snapshot().links == 0 ? 0 : 15;
  });
  CHECK(code == 0);
  CHECK(with.ask("after") == "after");
}

TEST_CASE("a child may destroy what it inherited, and open a fabric of its own" * doctest::skip(cannot_follow())) {
  shard_folder folder;
  // The child's own has no RDMA, whatever the parent used.
  auto server = std::make_unique<fabric>(configured({{"listen", "127.0.0.1:0"}, {"transport", "any"}}));
  auto shards = std::make_unique<shard_server>(shard_server::open(*server, folder.path()).value());
  server->on_request([](incoming_request request) { request.reply(request.payload()); });
  auto client = std::make_unique<fabric>(config{});
  auto link = soon(client->connect(server->address(), asio::use_future));
  const auto code = in_child([&] {
    const auto address = server->address();
    link = {};
    shards.reset();
    server.reset();
    client.reset();
    fabric own{config{}};
    auto mine = soon(own.connect(address, asio::use_future));
    return text_of(soon(mine.request(bytes_of("child"), {}, asio::use_future)).payload) == "child" ? 0 : 1;
  });
  CHECK(code == 0);
  CHECK(text_of(soon(link.request(bytes_of("parent"), {}, asio::use_future)).payload) == "parent");
}
