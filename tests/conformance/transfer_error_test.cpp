// Transfers that are refused: each with the error that its mistake has, and without touching a byte.
#include "rig.hpp"

using namespace weft;
using namespace weft::tests;

namespace {

template <class Kind>
error_code read_code(rig<Kind>& with, remote_view from, region_view to) {
  return std::get<0>(soon(with.link.read(from, to, {}, outcome)));
}

template <class Kind>
error_code write_code(rig<Kind>& with, region_view from, remote_view to) {
  return std::get<0>(soon(with.link.write(from, to, {}, outcome)));
}

} // namespace

TEST_CASE_TEMPLATE("a name that is not published is not_found", Kind, in_threads, in_processes) {
  rig<Kind> with;
  CHECK(std::get<0>(soon(with.link.open("nothing", outcome))) == errc::not_found);
}

TEST_CASE_TEMPLATE("beyond either end's region lies out_of_region", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = 100'000});
  const auto target = with.open("target");
  const auto source = with.open("source");
  auto memory = with.allocate(200'000);
  std::ranges::fill(memory.bytes(), poison);
  SUBCASE("locally") {
    CHECK(read_code(with, source.sub(0, 100), memory.sub(199'950, 100)) == errc::out_of_region);
    CHECK(write_code(with, memory.sub(~std::uint64_t{0}, 1), target.sub(0, 1)) == errc::out_of_region);
  }
  SUBCASE("remotely") {
    CHECK(read_code(with, source.sub(99'950, 100), memory.sub(0, 100)) == errc::out_of_region);
    CHECK(write_code(with, memory.sub(0, 100), target.sub(~std::uint64_t{0} - 10, 100)) != error_code{});
    CHECK(write_code(with, memory.sub(0, 100), target.sub(100'000, 100)) == errc::out_of_region);
  }
  SUBCASE("in one piece of many") {
    const std::vector<piece> pieces = {{0, 0, 10}, {150, 10, 100}};
    const auto [code, told] = soon(with.link.read(source.sub(0, 200), memory.sub(0, 200), pieces, {}, outcome));
    CHECK(code == errc::out_of_region);
    CHECK(told.where.find("piece 1") != std::string::npos);
  }
  CHECK(is_poisoned(memory.bytes()));
  CHECK(with.ask("echo fine") == "echo fine");
}

TEST_CASE_TEMPLATE("two sides of different length do not make a transfer", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto source = with.open("source");
  auto memory = with.allocate(1000);
  std::ranges::fill(memory.bytes(), poison);
  CHECK(read_code(with, source.sub(0, 999), memory) == errc::length_mismatch);
  CHECK(read_code(with, source.sub(0, 1001), memory) == errc::length_mismatch);
  CHECK(is_poisoned(memory.bytes()));
}

TEST_CASE_TEMPLATE("a right that was not given is denied", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto source = with.open("source");
  CHECK(source.allowed == rights::read);
  auto memory = with.filled(1000, 1);
  const auto [code, told] = soon(with.link.write(memory, source.sub(0, 1000), {}, outcome));
  CHECK(code == errc::permission_denied);
  CHECK(told.where.find("source") != std::string::npos);
  CHECK(read_code(with, source.sub(0, 1000), memory) == error_code{});
  CHECK(has_pattern(memory.bytes(), source_seed));
}

TEST_CASE_TEMPLATE("what was revoked cannot be used any more", Kind, in_threads, in_processes) {
  rig<Kind> with;
  with.ask("publish shortlived 100000");
  const auto gone = with.open("shortlived");
  auto memory = with.allocate(100'000);
  CHECK(with.ask("revoke shortlived") == "revoked");
  CHECK(read_code(with, gone.all(), memory) == errc::revoked);
  CHECK(std::get<0>(soon(with.link.open("shortlived", outcome))) == errc::not_found);
  // The same name again is another publication: the old handle does not open it.
  with.ask("publish shortlived 100000");
  CHECK(read_code(with, gone.all(), memory) == errc::revoked);
  CHECK(read_code(with, with.open("shortlived").all(), memory) == error_code{});
}

TEST_CASE_TEMPLATE("a revocation ends the transfers under way, and completes after them", Kind, in_threads,
                   in_processes) {
  rig<Kind> with;
  constexpr std::size_t size = 64 << 20;
  with.ask("publish pool " + std::to_string(size));
  const auto pool = with.open("pool");
  auto memory = with.allocate(size);
  std::vector<std::future<std::tuple<error_code, transfer_result>>> moving;
  for (int i = 0; i < 3; ++i) moving.push_back(with.link.write(memory, pool.all(), {}, outcome));
  CHECK(with.ask("revoke pool") == "revoked");
  for (auto& each : moving) {
    const auto code = std::get<0>(soon(std::move(each)));
    CHECK((code == errc::revoked || !code));
  }
  CHECK(std::get<0>(soon(with.link.write(memory, pool.all(), {}, outcome))) == errc::revoked);
}

TEST_CASE("a published name is taken, and ends are told apart") {
  fabric server(configured({{"listen", "127.0.0.1:0"}}));
  auto memory = server.allocate(byte_count{100}).value();
  server.publish(memory, "x", rights::read).value();
  CHECK(server.publish(memory, "x", rights::read).error() == errc::invalid_argument);
  CHECK(server.publish(memory, "", rights::read).error() == errc::invalid_name);
  CHECK(server.publish(memory, std::string(256, 'x'), rights::read).error() == errc::invalid_name);
  CHECK(server.publish(memory.sub(50, 51), "y", rights::read).error() == errc::out_of_region);
  CHECK(std::get<0>(soon(server.revoke("z", outcome))) == errc::not_found);
  soon(server.revoke("x", asio::use_future));
  CHECK(server.publish(memory, "x", rights::read).has_value());
}

TEST_CASE_TEMPLATE("words with a write have a limit", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto target = with.open("target");
  auto memory = with.filled(100, 1);
  const auto send = [&](std::size_t words) {
    return std::get<0>(
        soon(with.link.write(memory, target.sub(0, 100), {.notify = std::vector(words, poison)}, outcome)));
  };
  CHECK(send(4096) == error_code{});
  CHECK(send(4097) == errc::too_large);
}

TEST_CASE_TEMPLATE("beyond operations.bytes a transfer waits or is refused, as asked", Kind, in_threads, in_processes) {
  rig<Kind> with({}, {{"operations.bytes", "1MiB"}});
  const auto source = with.open("source");
  auto memory = with.allocate(1 << 20);
  auto other = with.allocate(1 << 20);
  std::size_t refused = 0;
  // The first may be over before the second asks: then it is tried again.
  for (int i = 0; i < 200 && refused == 0; ++i) {
    auto first = with.link.read(source.sub(0, 1 << 20), memory, {}, asio::use_future);
    auto second = with.link.read(source.sub(0, 1 << 20), other, {.when_full = when_full::fail}, outcome);
    soon(std::move(first));
    const auto code = std::get<0>(soon(std::move(second)));
    CHECK((code == errc::queue_full || !code));
    refused += code ? 1 : 0;
  }
  CHECK(refused == 1);
  std::vector<std::future<transfer_result>> waiting;
  for (int i = 0; i < 8; ++i) waiting.push_back(with.link.read(source.sub(0, 1 << 20), memory, {}, asio::use_future));
  for (auto& each : waiting) CHECK(soon(std::move(each)).bytes == 1 << 20);
}
