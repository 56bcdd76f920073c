// How operations complete: with every kind of token, on the executor of their handler, and never inside their call.
#include "rig.hpp"

#include "shard_folder.hpp"

#include <weft/shard_client.hpp>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>

using namespace weft;
using namespace weft::tests;

namespace {

/// Every asynchronous operation there is, one behind the other.
asio::awaitable<void> use_everything(fabric& client, const std::string& address) {
  auto link = co_await client.connect(address, asio::use_awaitable);
  const auto answer = co_await link.request(bytes_of("echo hello"), {}, asio::use_awaitable);
  CHECK(text_of(answer.payload) == "echo hello");
  const auto target = co_await link.open("target", asio::use_awaitable);
  auto memory = client.allocate(byte_count{1 << 20}).value();
  fill(memory.bytes(), 5);
  const auto written = co_await link.write(memory, target.sub(0, 1 << 20), {}, asio::use_awaitable);
  CHECK(written.bytes == 1 << 20);
  std::ranges::fill(memory.bytes(), poison);
  const auto read = co_await link.read(target.sub(0, 1 << 20), memory, {}, asio::use_awaitable);
  CHECK(read.bytes == 1 << 20);
  CHECK(has_pattern(memory.bytes(), 5));

  client.publish(memory, "mine", rights::read).value();
  co_await client.revoke("mine", asio::use_awaitable);

  shard_client shards(client, {address});
  const auto put = co_await shards.put("one", memory, {}, asio::use_awaitable);
  CHECK(put.copies.at(0).durable);
  CHECK((co_await shards.stat("one", asio::use_awaitable)).size == 1 << 20);
  CHECK((co_await shards.list("", "", 10, asio::use_awaitable)).shards.size() == 1);
  std::ranges::fill(memory.bytes(), poison);
  const auto fetched = co_await shards.fetch("one", memory, {}, asio::use_awaitable);
  CHECK(fetched.version == put.version);
  CHECK(has_pattern(memory.bytes(), 5));
  CHECK((co_await shards.verify("one", std::nullopt, asio::use_awaitable)).copies.at(0).blocks == 16);
  co_await client.close(1s, asio::use_awaitable);
}

} // namespace

TEST_CASE_TEMPLATE("every operation works as a coroutine", Kind, in_threads, in_processes) {
  const shard_folder folder;
  asio::io_context context;
  Kind server({.store = folder.path()});
  fabric client{config{}};
  auto done = asio::co_spawn(context, use_everything(client, server.address()), asio::use_future);
  context.run();
  soon(std::move(done));
}

TEST_CASE_TEMPLATE("a coroutine may live on the thread of a lane", Kind, in_threads, in_processes) {
  const shard_folder folder;
  Kind server({.store = folder.path()});
  for (const auto home : {lane::realtime, lane::bulk}) {
    fabric client{config{}};
    soon(asio::co_spawn(client.executor(home), use_everything(client, server.address()), asio::use_future));
  }
}

TEST_CASE_TEMPLATE("every operation works with a future", Kind, in_threads, in_processes) {
  const shard_folder folder;
  rig<Kind> with({.store = folder.path()});
  const auto target = with.open("target");
  auto memory = with.filled(300'000, 6);
  CHECK(soon(with.link.write(memory, target.sub(1, 300'000), {}, asio::use_future)).bytes == 300'000);
  std::ranges::fill(memory.bytes(), poison);
  CHECK(soon(with.link.read(target.sub(1, 300'000), memory, {}, asio::use_future)).bytes == 300'000);
  CHECK(has_pattern(memory.bytes(), 6));
  shard_client shards(with.client, {with.peer.address()});
  soon(shards.put("one", memory, {}, asio::use_future));
  CHECK(soon(shards.stat("one", asio::use_future)).size == 300'000);
  CHECK(soon(shards.list("o", "", 10, asio::use_future)).shards.size() == 1);
  std::ranges::fill(memory.bytes(), poison);
  CHECK(soon(shards.fetch("one", memory, {}, asio::use_future)).bytes == 300'000);
  CHECK(has_pattern(memory.bytes(), 6));
  CHECK(soon(shards.verify("one", std::nullopt, asio::use_future)).copies.size() == 1);
  with.client.publish(memory, "mine", rights::read).value();
  soon(with.client.revoke("mine", asio::use_future));
  soon(with.client.close(1s, asio::use_future));
}

namespace {

/// A callback for any operation, on an executor of its own: counts, and notes whether it ran where it should.
struct observer {
  asio::io_context context;
  int expected = 0;
  int completed = 0;
  int failed = 0;
  bool inside_a_call = false;
  bool early = false;

  auto callback() {
    ++expected;
    return asio::bind_executor(context, [this](error_code code, auto&&...) {
      early |= inside_a_call;
      ++completed;
      failed += code ? 1 : 0;
    });
  }
  /// Runs handlers until all have completed.
  void wait() {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (completed < expected && std::chrono::steady_clock::now() < until) {
      context.restart();
      context.run_one_for(100ms);
    }
  }
};

} // namespace

TEST_CASE_TEMPLATE("every operation works with a callback, on the callback's executor", Kind, in_threads,
                   in_processes) {
  const shard_folder folder;
  observer seen;
  rig<Kind> with({.store = folder.path()});
  const auto target = with.open("target");
  auto memory = with.filled(200'000, 8);
  shard_client shards(with.client, {with.peer.address()});
  with.client.publish(memory, "mine", rights::read).value();
  const auto step = [&](auto&& begin) {
    begin();
    // Only this thread runs the context: nothing may complete before it is asked to.
    CHECK(seen.completed == seen.expected - 1);
    seen.wait();
  };
  step([&] { with.client.connect(with.peer.address(), seen.callback()); });
  step([&] { with.link.request(bytes_of("echo"), {}, seen.callback()); });
  step([&] { with.link.open("target", seen.callback()); });
  step([&] { with.link.write(memory, target.sub(0, 200'000), {}, seen.callback()); });
  step([&] { with.link.read(target.sub(0, 200'000), memory, {}, seen.callback()); });
  step([&] { shards.put("one", memory, {}, seen.callback()); });
  step([&] { shards.stat("one", seen.callback()); });
  step([&] { shards.list("", "", 1, seen.callback()); });
  step([&] { shards.fetch("one", memory, {}, seen.callback()); });
  step([&] { shards.verify("one", std::nullopt, seen.callback()); });
  step([&] { with.client.revoke("mine", seen.callback()); });
  step([&] { with.client.close(1s, seen.callback()); });
  CHECK(seen.completed == 12);
  CHECK(seen.failed == 0);
}

TEST_CASE_TEMPLATE("no completion runs inside the call that began its operation", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto target = with.open("target");
  auto memory = with.allocate(4096);
  shard_client shards(with.client, {with.peer.address()});
  for (const auto home : {lane::realtime, lane::bulk}) {
    std::atomic<int> left = 0;
    std::atomic<std::thread::id> inside;
    std::atomic<bool> early = false;
    const auto callback = [&] {
      ++left;
      return [&](error_code, auto&&...) {
        if (inside.load() == std::this_thread::get_id()) early = true;
        --left;
      };
    };
    std::promise<void> begun;
    with.client.publish(memory, "mine", rights::read).value();
    // On the thread where they would complete: here only the library's care keeps them apart. Some fail at once.
    asio::post(with.client.executor(home), [&] {
      inside = std::this_thread::get_id();
      with.client.connect("nonsense", callback());
      with.link.request(std::vector<std::byte>(70'000), {.lane = home}, callback());
      with.link.request(bytes_of("echo"), {.lane = home}, callback());
      with.link.open("target", callback());
      with.link.write(memory, target.sub(0, 1), {.lane = home}, callback());
      with.link.write(memory, target.sub(0, 4096), {.lane = home}, callback());
      with.link.read(target.sub(0, 4096), memory, {.lane = home}, callback());
      shards.stat("..", callback());
      shards.fetch("none", memory, {}, callback());
      with.client.revoke("mine", callback());
      with.client.revoke("nothing", callback());
      inside = std::thread::id{};
      begun.set_value();
    });
    soon(begun.get_future());
    CHECK(eventually([&] { return left == 0; }));
    CHECK_FALSE(early);
  }
}
