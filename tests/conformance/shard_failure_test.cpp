// Shards when something fails: a replica, a block of a disk, the client; and fetches and puts that are given up.
#include "listener.hpp"
#include "replicas.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::size_t large = 64 << 20;

/// Small enough windows that a fetch of `large` is under way for a while.
const settings narrow = {{"shard.window", "2MiB"}, {"shard.stall", "200ms"}};

/// Whether `memory` stays as it is while other bytes move.
template <class Kind>
bool stays_untouched(replicas<Kind>& with, const region& memory) {
  std::ranges::fill(memory.bytes(), poison);
  for (int i = 0; i < 4; ++i) with.arrives("small", 1 << 20, 1);
  return is_poisoned(memory.bytes());
}

} // namespace

TEST_CASE("a replica that is dead from the start is done without" * doctest::test_suite("two processes")) {
  replicas<in_processes> with(2, {{"redial.max", "20ms"}});
  with.put("shard", 5'000'000, 1);
  with.servers[0]->kill();
  fabric fresh(configured({{"session.grace", "200ms"}}));
  shard_client shards(fresh, {with.servers[0]->address(), with.servers[1]->address()});
  auto memory = fresh.allocate(byte_count{5'000'000}).value();
  const auto got = soon(shards.fetch("shard", memory, {}, asio::use_future));
  CHECK(has_pattern(memory.bytes(), 1));
  CHECK(got.moved > 0);
  CHECK(soon(shards.stat("shard", asio::use_future)).size == 5'000'000);

  const auto [all, copies] = soon(shards.put("next", memory, {}, outcome));
  CHECK(all == errc::not_enough_copies);
  CHECK(copies.copies[0].code == errc::connect_refused);
  CHECK(copies.copies[1].durable);
  const auto one = soon(shards.put("next", memory, {.min_copies = 1}, asio::use_future));
  CHECK_FALSE(one.copies[0].durable);
  CHECK(one.copies[1].durable);
  with.servers[1]->kill();
  CHECK(std::get<0>(soon(shards.put("last", memory, {.min_copies = 1}, outcome))) != error_code{});
}

TEST_CASE("a replica that is killed in mid-fetch is replaced by the other" * doctest::test_suite("two processes")) {
  replicas<in_processes> with(2, narrow);
  with.put("shard", large, 2);
  auto memory = with.client.allocate(byte_count{large}).value();
  auto fetch = with.shards->fetch("shard", memory, {}, asio::use_future);
  const auto before = with.client.snapshot().all_lanes().bytes_received;
  eventually([&] { return with.client.snapshot().all_lanes().bytes_received > before + (4 << 20); });
  with.servers[1]->kill();
  CHECK(soon(std::move(fetch)).bytes == large);
  CHECK(has_pattern(memory.bytes(), 2));
}

TEST_CASE("the only replica is killed in mid-fetch: peer_lost, long before the deadline" *
          doctest::test_suite("two processes")) {
  replicas<in_processes> with(1, {{"shard.window", "2MiB"}, {"session.grace", "300ms"}});
  with.put("shard", large, 2);
  auto memory = with.client.allocate(byte_count{large}).value();
  const auto before = with.client.snapshot().all_lanes().bytes_received;
  auto fetch = with.shards->fetch("shard", memory, {.deadline = 1h}, outcome);
  eventually([&] { return with.client.snapshot().all_lanes().bytes_received > before + (4 << 20); });
  with.servers[0]->kill();
  const auto [code, told] = soon(std::move(fetch));
  CHECK(code == errc::peer_lost);
  CHECK(told.where.find(with.servers[0]->address()) != std::string::npos);
}

TEST_CASE("a replica that freezes in mid-fetch is replaced by the other" * doctest::test_suite("two processes")) {
  replicas<in_processes> with(2, narrow);
  with.put("shard", large, 3);
  with.put("small", 1 << 20, 1);
  auto memory = with.client.allocate(byte_count{large}).value();
  auto fetch = with.shards->fetch("shard", memory, {}, asio::use_future);
  const auto before = with.client.snapshot().all_lanes().bytes_received;
  eventually([&] { return with.client.snapshot().all_lanes().bytes_received > before + (4 << 20); });
  with.servers[0]->freeze();
  const auto got = soon(std::move(fetch));
  CHECK(got.bytes == large);
  CHECK(has_pattern(memory.bytes(), 3));
  with.servers[0]->thaw();
  CHECK(stays_untouched(with, memory));
}

TEST_CASE("with all replicas frozen a fetch ends at its deadline, and goes on when they do" *
          doctest::test_suite("two processes")) {
  replicas<in_processes> with(2, narrow);
  with.put("small", 1 << 20, 1);
  auto memory = with.client.allocate(byte_count{1 << 20}).value();
  for (auto& server : with.servers) server->freeze();
  const auto begin = std::chrono::steady_clock::now();
  CHECK(std::get<0>(soon(with.shards->fetch("small", memory, {.deadline = 100ms}, outcome))) ==
        errc::deadline_exceeded);
  // Also when there is no link yet to be slow.
  fabric fresh{config{}};
  shard_client shards(fresh, {with.servers[0]->address(), with.servers[1]->address()});
  auto other = fresh.allocate(byte_count{1 << 20}).value();
  CHECK(std::get<0>(soon(shards.fetch("small", other, {.deadline = 100ms}, outcome))) == errc::deadline_exceeded);
  CHECK(std::get<0>(soon(shards.put("new", other, {.deadline = 100ms}, outcome))) == errc::deadline_exceeded);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  // A stall of all ends nothing: whoever is left gets the patience of a transfer.
  auto patient = with.shards->fetch("small", memory, {}, asio::use_future);
  std::this_thread::sleep_for(600ms);
  for (auto& server : with.servers) server->thaw();
  CHECK(soon(std::move(patient)).bytes == 1 << 20);
  CHECK(has_pattern(memory.bytes(), 1));
}

TEST_CASE("a replica that never answers a connection does not hold up the other") {
  const listener silent([](auto&) {});
  replicas<in_threads> with(1, narrow);
  with.put("shard", 3'000'000, 4);
  shard_client shards(with.client, {silent.address(), with.servers[0]->address()});
  auto memory = with.client.allocate(byte_count{3'000'000}).value();
  CHECK(soon(shards.fetch("shard", memory, {}, asio::use_future)).bytes == 3'000'000);
  CHECK(has_pattern(memory.bytes(), 4));
}

TEST_CASE_TEMPLATE("a block that rotted in one replica comes from the other", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  constexpr std::size_t size = 8'000'000;
  with.put("shard", size, 5);
  // Every chunk of one replica is bad somewhere: whichever it is asked for.
  for (std::uint64_t at = 1000; at < size; at += 1 << 20) with.folders[0].rot(at);
  auto memory = with.client.allocate(byte_count{size}).value();
  const auto got = soon(with.shards->fetch("shard", memory, {}, asio::use_future));
  CHECK(has_pattern(memory.bytes(), 5));
  CHECK(got.moved > 0);
  SUBCASE("also for a ragged range") {
    std::ranges::fill(memory.bytes(), poison);
    const std::vector<fetch_piece> pieces = {{900, memory.sub(0, 500)}, {(5 << 20) + 999, memory.sub(500, 2)}};
    for (int i = 0; i < 4; ++i) soon(with.shards->fetch("shard", pieces, {}, asio::use_future));
    CHECK(has_pattern(memory.bytes().first(500), 5, 900));
    CHECK(has_pattern(memory.bytes().subspan(500, 2), 5, (5 << 20) + 999));
  }
  SUBCASE("and verify tells which blocks they are") {
    const auto [code, told] = soon(with.shards->verify("shard", std::nullopt, outcome));
    CHECK(code == errc::checksum_mismatch);
    CHECK(told.copies[0].bad_blocks == std::vector<std::uint64_t>{0, 16, 32, 48, 64, 80, 96, 112});
    CHECK(told.copies[1].bad_blocks.empty());
    CHECK(told.where.find(with.servers[0]->address()) != std::string::npos);
  }
}

TEST_CASE_TEMPLATE("a block that rotted everywhere is a checksum_mismatch that names it", Kind, in_threads,
                   in_processes) {
  replicas<Kind> with(2);
  constexpr std::size_t size = 4'000'000;
  with.put("shard", size, 6);
  for (const auto& folder : with.folders) folder.rot(3 * 65536 + 17);
  auto memory = with.client.allocate(byte_count{size}).value();
  const auto [code, told] = soon(with.shards->fetch("shard", memory, {}, outcome));
  CHECK(code == errc::checksum_mismatch);
  CHECK(told.where.find("stored") != std::string::npos);
  CHECK(told.where.find("block 3 of shard 'shard'") != std::string::npos);
  const std::vector<fetch_piece> ragged = {{3 * 65536 + 5, memory.sub(0, 5)}};
  const auto [also, words] = soon(with.shards->fetch("shard", ragged, {}, outcome));
  CHECK(also == errc::checksum_mismatch);
  CHECK(words.where.find("block 3 of shard 'shard'") != std::string::npos);
  // What lies elsewhere is still there.
  const std::vector<fetch_piece> sound = {{1 << 20, memory.sub(0, 2 << 20)}};
  CHECK(soon(with.shards->fetch("shard", sound, {}, asio::use_future)).bytes == 2 << 20);
}

TEST_CASE_TEMPLATE("a client that vanishes in mid-put leaves nothing", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  for (const auto after : {0ms, 3ms, 15ms}) {
    auto client = std::make_unique<fabric>(configured(narrow));
    shard_client shards(*client, {with.servers[0]->address(), with.servers[1]->address()});
    auto memory = client->allocate(byte_count{large}).value();
    auto put = shards.put("gone", memory, {}, outcome);
    std::this_thread::sleep_for(after);
    client.reset();
    CHECK(std::get<0>(soon(std::move(put))) == errc::closed);
    for (const auto& folder : with.folders) CHECK(eventually([&] { return folder.unfinished() == 0; }));
    CHECK(std::get<0>(soon(with.shards->stat("gone", outcome))) == errc::not_found);
  }
}

TEST_CASE_TEMPLATE("a fetch that is given up touches its buffer no more", Kind, in_threads, in_processes) {
  replicas<Kind> with(2, narrow);
  with.put("shard", large, 7);
  with.put("small", 1 << 20, 1);
  auto memory = with.client.allocate(byte_count{large}).value();
  for (const auto after : {0us, 1000us, 8000us}) {
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    with.shards->fetch("shard", memory, {}, asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) {
                         ended.set_value(code);
                       }));
    std::this_thread::sleep_for(after);
    stop.emit(asio::cancellation_type::terminal);
    const auto code = soon(ended.get_future());
    CHECK((code == errc::cancelled || !code));
    CHECK(stays_untouched(with, memory));
  }
  for (const auto deadline : {10us, 5000us}) {
    const auto code = std::get<0>(soon(with.shards->fetch("shard", memory, {.deadline = deadline}, outcome)));
    CHECK((code == errc::deadline_exceeded || !code));
    CHECK(stays_untouched(with, memory));
  }
}

TEST_CASE_TEMPLATE("a put that is given up leaves nothing, and reads its buffer no more", Kind, in_threads,
                   in_processes) {
  replicas<Kind> with(2, narrow);
  with.put("small", 1 << 20, 1);
  auto memory = with.filled(large, 8);
  for (const auto after : {0us, 1000us, 8000us}) {
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    with.shards->put("never", memory, {}, asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) {
                       ended.set_value(code);
                     }));
    std::this_thread::sleep_for(after);
    stop.emit(asio::cancellation_type::terminal);
    CHECK(soon(ended.get_future()) == errc::cancelled);
    CHECK(stays_untouched(with, memory));
    for (const auto& folder : with.folders) CHECK(eventually([&] { return folder.unfinished() == 0; }));
  }
  const auto [code, told] = soon(with.shards->put("never", memory, {.deadline = 5ms}, outcome));
  CHECK(code == errc::deadline_exceeded);
  for (const auto& folder : with.folders) CHECK(eventually([&] { return folder.unfinished() == 0; }));
  CHECK(std::get<0>(soon(with.shards->stat("never", outcome))) == errc::not_found);
  CHECK(with.arrives("small", 1 << 20, 1));
}

TEST_CASE("a question is cancelled through its slot, though nobody answers") {
  const listener silent([](auto&) {});
  fabric client{config{}};
  shard_client shards(client, {silent.address()});
  const auto cancelled = [](auto begin) {
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    begin(asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) { ended.set_value(code); }));
    std::this_thread::sleep_for(5ms);
    stop.emit(asio::cancellation_type::terminal);
    return soon(ended.get_future()) == errc::cancelled;
  };
  CHECK(cancelled([&](auto token) { shards.stat("x", token); }));
  CHECK(cancelled([&](auto token) { shards.list("", "", 1, token); }));
  CHECK(cancelled([&](auto token) { shards.verify("x", std::nullopt, token); }));
}
