// Connections that break in mid-transfer: the transfer goes on over the next ones, and only what was lost goes again.
#include "chaos_proxy.hpp"
#include "rig.hpp"

#include <random>

using namespace weft;
using namespace weft::tests;

namespace {

/// The proxy breaks TCP connections: data must not go around it.
settings over_tcp(settings also) {
  also.emplace_back("transport", "tcp");
  return also;
}

/// A client that reaches its peer through a proxy.
template <class Kind>
struct broken_road {
  explicit broken_road(const settings& mine = {}, const peer_options& theirs = {.size = size})
      : peer(theirs), proxy(peer.address()), client(configured(over_tcp(mine))),
        link(soon(client.connect(proxy.address(), asio::use_future))) {}

  static constexpr std::size_t size = 32 << 20;

  Kind peer;
  chaos_proxy proxy;
  fabric client;
  weft::link link;
};

/// Breaks `which` connections at seeded moments while bytes flow, until `over()`.
template <class Over>
std::size_t break_while(chaos_proxy& proxy, chaos_proxy::victims which, std::uint64_t seed, int most, Over over) {
  std::mt19937_64 random(seed);
  std::size_t broken = 0;
  for (int i = 0; i < most && !over(); ++i) {
    const auto until = proxy.forwarded() + random() % (6 << 20) + 100'000;
    eventually([&] { return proxy.forwarded() >= until || over(); });
    broken += proxy.break_connections(which);
  }
  return broken;
}

template <class T>
auto is_ready(const std::future<T>& future) {
  return [&future] { return future.wait_for(0s) == std::future_status::ready; };
}

} // namespace

TEST_CASE_TEMPLATE("transfers survive the loss of connections, byte for byte", Kind, in_threads, in_processes) {
  chaos_proxy::victims which{};
  SUBCASE("of all") {
    which = chaos_proxy::victims::all;
  }
  SUBCASE("of the session's alone") {
    which = chaos_proxy::victims::sessions;
  }
  SUBCASE("of those with data alone") {
    which = chaos_proxy::victims::channels;
  }
  // What breaks over and over is dialled more and more slowly: not here.
  broken_road<Kind> with(settings{{"redial.max", "20ms"}});
  const auto target = soon(with.link.open("target", asio::use_future));
  const auto source = soon(with.link.open("source", asio::use_future));
  auto memory = with.client.allocate(byte_count{with.size}).value();
  auto other = with.client.allocate(byte_count{with.size}).value();
  std::uint64_t broken = 0;
  std::uint64_t resent = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    fill(memory.bytes(), seed);
    std::ranges::fill(other.bytes(), poison);
    auto writing = with.link.write(memory, target.all(), {.notify = {poison}}, asio::use_future);
    auto reading = with.link.read(source.all(), other, {.lane = lane::standard}, asio::use_future);
    broken += break_while(with.proxy, which, seed, 6, is_ready(writing));
    resent += soon(std::move(writing)).resent;
    soon(std::move(reading));
    CHECK(has_pattern(other.bytes(), source_seed));
    std::ranges::fill(other.bytes(), poison);
    soon(with.link.read(target.all(), other, {}, asio::use_future));
    CHECK(has_pattern(other.bytes(), seed));
  }
  CHECK(broken > 0);
  const auto counted = with.client.snapshot();
  CHECK(counted.slices_resent >= resent);
  CHECK(counted.operations_failed == 0);
  // Never all of it again: at most what a window holds, for each loss.
  CHECK(resent <= (broken + 4) * (8 << 20) / (64 << 10));
  if (which == chaos_proxy::victims::sessions) CHECK(counted.slices_resent == 0);
  const auto notes = soon(with.link.request(bytes_of("notes"), {}, asio::use_future)).payload;
  CHECK(std::ranges::count(text_of(notes), '\n') == 4);
}

TEST_CASE_TEMPLATE("handlers run once and every request is answered, though connections break", Kind, in_threads,
                   in_processes) {
  broken_road<Kind> with;
  std::vector<std::future<response>> answers;
  std::mt19937_64 random(5);
  for (int i = 0; i < 400; ++i) {
    answers.push_back(with.link.request(bytes_of("mark each"), {.lane = static_cast<lane>(i % 4)}, asio::use_future));
    if (random() % 40 == 0) with.proxy.break_connections(chaos_proxy::victims::all);
  }
  for (auto& answer : answers) soon(std::move(answer));
  CHECK(text_of(soon(with.link.request(bytes_of("marks each"), {}, asio::use_future)).payload) == "400");
}

TEST_CASE_TEMPLATE("a loss without end is peer_lost by session.grace", Kind, in_threads, in_processes) {
  broken_road<Kind> with(settings{{"session.grace", "300ms"}});
  const auto target = soon(with.link.open("target", asio::use_future));
  auto memory = with.client.allocate(byte_count{with.size}).value();
  auto writing = with.link.write(memory, target.all(), {}, outcome);
  with.proxy.let_in(false);
  with.proxy.break_connections(chaos_proxy::victims::all);
  const auto code = std::get<0>(soon(std::move(writing)));
  CHECK((code == errc::peer_lost || !code));
  CHECK(eventually([&] { return !with.link.alive(); }));
  CHECK(std::get<0>(soon(with.link.request({}, {}, outcome))) == errc::peer_lost);
}

TEST_CASE_TEMPLATE("an outage shorter than session.grace ends nothing", Kind, in_threads, in_processes) {
  broken_road<Kind> with;
  const auto target = soon(with.link.open("target", asio::use_future));
  auto memory = with.client.allocate(byte_count{with.size}).value();
  fill(memory.bytes(), 3);
  auto writing = with.link.write(memory, target.all(), {}, asio::use_future);
  with.proxy.let_in(false);
  with.proxy.break_connections(chaos_proxy::victims::all);
  std::this_thread::sleep_for(300ms);
  with.proxy.let_in(true);
  CHECK(soon(std::move(writing)).bytes == with.size);
  CHECK(with.link.alive());
}
