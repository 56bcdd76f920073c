// Transfers that succeed: every size around a slice, every lane, lists of pieces, notifications, and many at once.
#include "rig.hpp"

#include "base/crc32c.hpp"

#include <chrono>
#include <random>
#include <thread>

using namespace weft;
using namespace weft::tests;

namespace {

std::string crc_command(std::string_view name, std::uint64_t offset, std::uint64_t size) {
  return "crc " + std::string(name) + ' ' + std::to_string(offset) + ' ' + std::to_string(size);
}

std::string checksum(std::span<const std::byte> bytes) {
  return std::to_string(crc32c(bytes));
}

} // namespace

TEST_CASE_TEMPLATE("a write and a read move exactly the bytes, for sizes around slices", Kind, in_threads,
                   in_processes) {
  constexpr std::size_t mib = 1 << 20;
  rig<Kind> with({.size = 21 * mib});
  const auto target = with.open("target");
  const auto source = with.open("source");
  std::uint64_t seed = 0;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65535}, std::size_t{65536},
                                 std::size_t{65537}, mib - 1, mib, mib + 1, 20 * mib}) {
    CAPTURE(size);
    const auto offset = ++seed; // not aligned to anything
    auto memory = with.filled(size + 64, seed);
    const auto written = soon(with.link.write(memory.sub(0, size), target.sub(offset, size), {}, asio::use_future));
    CHECK(written.bytes == size);
    CHECK(written.resent == 0);
    CHECK(written.verified == verify_mode::slice);
    CHECK(with.ask(crc_command("target", offset, size)) == checksum(memory.bytes().first(size)));
    std::ranges::fill(memory.bytes(), poison);
    const auto read = soon(with.link.read(source.sub(offset, size), memory.sub(0, size), {}, asio::use_future));
    CHECK(read.bytes == size);
    CHECK(has_pattern(memory.bytes().first(size), source_seed, offset));
    CHECK(is_poisoned(memory.bytes().subspan(size)));
  }
  CHECK(with.client.snapshot().slices_refused == 0);
}

// No slow machine makes a transfer faster than its limit: this is no bound on what the machine can do.
TEST_CASE_TEMPLATE("a lane's limit holds its sender back, at either end", Kind, in_threads, in_processes) {
  constexpr std::size_t size = 6 << 20;
  const settings limited = {{"lane.bulk.limit", "40MB/s"}};
  rig<Kind> with({.size = size, .values = limited}, limited);
  const auto target = with.open("target");
  auto memory = with.filled(size, 3);
  const auto seconds_of = [&](auto&& transfer) {
    const auto begun = std::chrono::steady_clock::now();
    CHECK(soon(transfer()).bytes == size);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  };
  // But for a burst: what it may save up, and a turn.
  const auto least = static_cast<double>(size - (1 << 20)) / 40e6;
  CHECK(seconds_of([&] { return with.link.write(memory, target.all(), {}, asio::use_future); }) >= least);
  CHECK(seconds_of([&] { return with.link.read(target.all(), memory, {}, asio::use_future); }) >= least);
  CHECK(has_pattern(memory.bytes(), 3));
}

TEST_CASE_TEMPLATE("transfers go on every lane", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto target = with.open("target");
  for (std::size_t i = 0; i < lane_count; ++i) {
    CAPTURE(i);
    auto memory = with.filled(700'000, 100 + i);
    const transfer_options options{.lane = static_cast<lane>(i)};
    CHECK(soon(with.link.write(memory, target.sub(i, 700'000), options, asio::use_future)).bytes == 700'000);
    std::ranges::fill(memory.bytes(), poison);
    CHECK(soon(with.link.read(target.sub(i, 700'000), memory, options, asio::use_future)).bytes == 700'000);
    CHECK(has_pattern(memory.bytes(), 100 + i));
  }
}

TEST_CASE_TEMPLATE("a result says when only the wire checked its bytes", Kind, in_threads, in_processes) {
  rig<Kind> with({}, {{"verify", "wire"}});
  const auto source = with.open("source");
  auto memory = with.allocate(1 << 20);
  const auto plain = soon(with.link.read(source.sub(0, 1 << 20), memory, {}, asio::use_future));
  CHECK(plain.verified == verify_mode::wire);
  CHECK(has_pattern(memory.bytes(), source_seed));
  const auto checked =
      soon(with.link.read(source.sub(0, 1 << 20), memory, {.verify = verify_mode::slice}, asio::use_future));
  CHECK(checked.verified == verify_mode::slice);
}

TEST_CASE_TEMPLATE("a list of pieces scatters and gathers, and completes once", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto target = with.open("target");
  constexpr std::size_t count = 15'000;
  constexpr std::size_t length = 100;
  auto memory = with.filled(count * length, 9);
  // Indexed: every piece goes to another place, in a seeded order.
  std::vector<piece> pieces;
  for (std::size_t i = 0; i < count; ++i) pieces.push_back({i * length, i * length, length});
  std::mt19937_64 random(3);
  for (std::size_t i = count; i-- > 1;) std::swap(pieces[i].remote_offset, pieces[random() % (i + 1)].remote_offset);
  const auto written = soon(with.link.write(memory, target.sub(0, count * length), pieces, {}, asio::use_future));
  CHECK(written.bytes == count * length);
  std::vector<std::byte> expected(count * length);
  for (const auto& each : pieces) {
    std::memcpy(expected.data() + each.remote_offset, memory.bytes().data() + each.local_offset, length);
  }
  CHECK(with.ask(crc_command("target", 0, expected.size())) == checksum(expected));

  auto back = with.allocate(count * length);
  CHECK(soon(with.link.read(target.sub(0, count * length), back, pieces, {}, asio::use_future)).bytes ==
        count * length);
  CHECK(has_pattern(back.bytes(), 9));
}

TEST_CASE_TEMPLATE("a strided list touches its pieces and nothing between", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto source = with.open("source");
  constexpr std::size_t count = 15'000;
  auto memory = with.allocate(count * 48);
  std::ranges::fill(memory.bytes(), poison);
  const auto pieces = strided({0, 3, 16}, 48, 200, count);
  const auto read = soon(with.link.read(source.all(), memory, pieces, {}, asio::use_future));
  CHECK(read.bytes == count * 16);
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!has_pattern(memory.bytes().subspan(i * 48, 16), source_seed, 3 + i * 200)) ++wrong;
    if (!is_poisoned(memory.bytes().subspan(i * 48 + 16, 32))) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("a notification comes exactly once, after the bytes", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto target = with.open("target");
  auto memory = with.filled(1 << 20, 12);
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const auto words = "batch" + std::to_string(i);
    const auto bytes = bytes_of(words);
    soon(with.link.write(memory, target.sub(0, 1 << 20), {.notify = {bytes.begin(), bytes.end()}}, asio::use_future));
    expected += "target " + words + '\n';
    // A write is complete at the peer before it is here: so are its words.
    CHECK(with.ask("notes") == expected);
  }
  CHECK(with.ask(crc_command("target", 0, 1 << 20)) == checksum(memory.bytes()));
}

TEST_CASE("a notification's handler finds all bytes in place") {
  fabric server(configured({{"listen", "127.0.0.1:0"}}));
  fabric client{config{}};
  auto target = server.allocate(byte_count{3'000'000}).value();
  server.publish(target, "pool", rights::write).value();
  std::promise<bool> complete;
  server.on_notification([&](const notification&) { complete.set_value(has_pattern(target.bytes(), 31)); });
  auto link = soon(client.connect(server.address(), asio::use_future));
  const auto remote = soon(link.open("pool", asio::use_future));
  auto memory = client.allocate(byte_count{3'000'000}).value();
  fill(memory.bytes(), 31);
  auto written = link.write(memory, remote.all(), {.notify = {poison}}, asio::use_future);
  CHECK(soon(complete.get_future()));
  soon(std::move(written));
}

TEST_CASE_TEMPLATE("many operations of many threads go on at once", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = 8 << 20}, {{"operations.max", "16"}}); // so that they also have to wait
  const auto target = with.open("target");
  const auto source = with.open("source");
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      constexpr std::size_t share = 512 * 1024;
      auto memory = with.allocate(share);
      for (std::size_t round = 0; round < 6; ++round) {
        const transfer_options options{.lane = static_cast<lane>((t + round) % 4)};
        fill(memory.bytes(), 1000 * t + round);
        soon(with.link.write(memory, target.sub(t * share, share), options, asio::use_future));
        soon(with.link.request(bytes_of("mark crowd"), {}, asio::use_future));
        std::ranges::fill(memory.bytes(), poison);
        soon(with.link.read(target.sub(t * share, share), memory, options, asio::use_future));
        wrong += has_pattern(memory.bytes(), 1000 * t + round) ? 0 : 1;
        soon(with.link.read(source.sub(t * share, share), memory, options, asio::use_future));
        wrong += has_pattern(memory.bytes(), source_seed, t * share) ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(with.ask("marks crowd") == "48");
  CHECK(with.client.snapshot().operations == 0);
}

TEST_CASE_TEMPLATE("requests are answered while bulk saturates the link", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = 16 << 20});
  const auto source = with.open("source");
  std::atomic<bool> enough = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      auto memory = with.allocate(16 << 20);
      while (!enough) soon(with.link.read(source.all(), memory, {}, asio::use_future));
    });
  }
  for (int i = 0; i < 200; ++i) {
    const request_options options{.lane = i % 2 == 0 ? lane::realtime : lane::standard};
    CHECK(text_of(soon(with.link.request(bytes_of("echo now"), options, asio::use_future)).payload) == "echo now");
  }
  enough = true;
  for (auto& reader : readers) reader.join();
}

TEST_CASE("a fabric may link with itself") {
  fabric alone(configured({{"listen", "127.0.0.1:0"}}));
  alone.on_request([](incoming_request request) { request.reply(request.payload()); });
  auto link = soon(alone.connect(alone.address(), asio::use_future));
  for (const auto on : {lane::realtime, lane::background}) {
    CHECK(text_of(soon(link.request(bytes_of("me"), {.lane = on}, asio::use_future)).payload) == "me");
  }
  auto memory = alone.allocate(byte_count{1 << 20}).value();
  auto pool = alone.allocate(byte_count{1 << 20}).value();
  fill(memory.bytes(), 4);
  alone.publish(pool, "pool", rights::read_write).value();
  const auto remote = soon(link.open("pool", asio::use_future));
  soon(link.write(memory, remote.all(), {}, asio::use_future));
  CHECK(has_pattern(pool.bytes(), 4));
}

TEST_CASE_TEMPLATE("thousands of pieces, indexed or strided, go in one call and are told of one by one", Kind,
                   in_threads, in_processes) {
  constexpr std::size_t count = 15'000;
  constexpr std::size_t length = 512;
  rig<Kind> with({.size = 2 * count * length});
  auto local = with.filled(count * length, 5);
  const auto remote = with.open("target");
  std::vector<piece> pieces;
  SUBCASE("indexed") {
    for (std::size_t i = 0; i < count; ++i) {
      const auto shuffled = i * 7919 % count; // coprime: a permutation
      pieces.push_back({i * length, 2 * shuffled * length, length});
    }
  }
  SUBCASE("strided") {
    pieces = strided({0, 0, length}, length, 2 * length, count);
  }
  auto written = soon(with.link.write(local, remote.all(), pieces, {.piece_status = true}, asio::use_future));
  CHECK(written.bytes == count * length);
  CHECK(written.pieces == std::vector<error_code>(count));
  auto back = with.allocate(count * length);
  auto read = soon(with.link.read(remote.all(), back, pieces, {.piece_status = true}, asio::use_future));
  CHECK(read.pieces == std::vector<error_code>(count));
  CHECK(has_pattern(back.bytes(), 5));
  CHECK(soon(with.link.read(remote.all(), back, pieces, {}, asio::use_future)).pieces.empty());
}

TEST_CASE("after an error each piece says whether it arrived" * doctest::test_suite("two processes")) {
  constexpr std::size_t length = 256 * 1024;
  rig<in_processes> with({.size = 64 * length});
  auto local = with.filled(64 * length, 5);
  const auto remote = with.open("target");
  const auto pieces = strided({0, 0, length}, length, length, 64);
  with.peer.freeze();
  auto [code, read] =
      soon(with.link.read(remote.all(), local, pieces, {.deadline = 200ms, .piece_status = true}, outcome));
  CHECK(code == errc::deadline_exceeded);
  REQUIRE(read.pieces.size() == 64);
  for (const auto& each : read.pieces) CHECK(each == errc::deadline_exceeded);
  with.peer.thaw();
  auto wrong = pieces;
  wrong.back().remote_offset = 64 * length;
  auto [refused, none] = soon(with.link.read(remote.all(), local, wrong, {.piece_status = true}, outcome));
  CHECK(refused == errc::out_of_region);
  CHECK(none.pieces == std::vector<error_code>(64, errc::out_of_region));
}

TEST_CASE_TEMPLATE("pieces that overlap move like others", Kind, in_threads, in_processes) {
  constexpr std::size_t length = 4096;
  constexpr std::size_t count = 2000;
  rig<Kind> with({.size = count * length});
  auto local = with.allocate(count * length);
  std::ranges::fill(local.bytes(), std::byte{7});
  const auto remote = with.open("target");
  const auto there = strided({0, 0, length}, length, length / 2, count);
  CHECK(soon(with.link.write(local, remote.all(), there, {}, asio::use_future)).bytes == count * length);
  std::ranges::fill(local.bytes(), poison);
  const auto here = strided({0, 0, length}, length / 2, 0, count);
  CHECK(soon(with.link.read(remote.all(), local, here, {}, asio::use_future)).bytes == count * length);
  const auto touched = (count + 1) * length / 2;
  CHECK(std::ranges::count(local.bytes().first(touched), std::byte{7}) == touched);
  CHECK(is_poisoned(local.bytes().subspan(touched)));
}

TEST_CASE_TEMPLATE("what is longer than operations.bytes goes in several operations", Kind, in_threads, in_processes) {
  constexpr std::size_t size = (5 << 20) + 100;
  const settings small = {{"operations.bytes", "1MiB"}};
  rig<Kind> with({.size = size, .values = small}, small);
  auto local = with.filled(size, 5);
  const auto remote = with.open("target");
  CHECK(soon(with.link.write(local, remote.all(), {.when_full = when_full::fail}, asio::use_future)).bytes == size);
  CHECK(with.ask(crc_command("target", 0, size)) == checksum(local.bytes()));
  const std::vector<piece> pieces = {{0, 0, 100}, {100, 100, 3 << 20}, {100 + (3 << 20), 100 + (3 << 20), 2 << 20}};
  auto back = with.allocate(size);
  const auto read = soon(with.link.read(remote.all(), back, pieces, {.piece_status = true}, asio::use_future));
  CHECK(read.bytes == size);
  CHECK(read.pieces == std::vector<error_code>(3));
  CHECK(has_pattern(back.bytes(), 5));
}

TEST_CASE_TEMPLATE("words come behind the last of several operations, and only if all went well", Kind, in_threads,
                   in_processes) {
  constexpr std::size_t size = (3 << 20) + 100;
  const settings small = {{"operations.bytes", "1MiB"}};
  rig<Kind> with({.size = size, .values = small}, small);
  auto local = with.filled(size, 6);
  const auto bytes = bytes_of("words");
  const transfer_options telling = {.notify = {bytes.begin(), bytes.end()}, .piece_status = true};
  const std::vector<piece> pieces = {{0, 0, 2 << 20}, {2 << 20, 2 << 20, size - (2 << 20)}};
  const auto [denied, what] = soon(with.link.write(local, with.open("source").all(), pieces, telling, outcome));
  CHECK(denied == errc::permission_denied);
  CHECK(what.pieces == std::vector<error_code>(2, errc::permission_denied));
  CHECK(with.ask("notes").empty());
  const auto written = soon(with.link.write(local, with.open("target").all(), pieces, telling, asio::use_future));
  CHECK(written.bytes == size);
  CHECK(written.pieces == std::vector<error_code>(2));
  CHECK(with.ask("notes") == "target words\n");
  CHECK(with.ask(crc_command("target", 0, size)) == checksum(local.bytes()));
}
