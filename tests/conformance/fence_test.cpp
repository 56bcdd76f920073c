// Once a transfer has completed, however it ended, nothing touches its buffer again: it is poisoned then, the link is
// kept busy, and looked at again.
#include "rig.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::size_t large = 48 << 20;

/// Fills `memory`, moves other bytes over the link, and tells whether `memory` stayed as it was.
template <class Kind>
bool stays_untouched(rig<Kind>& with, const region& memory) {
  std::ranges::fill(memory.bytes(), poison);
  const auto source = with.open("source");
  auto other = with.allocate(1 << 20);
  for (int i = 0; i < 8; ++i) soon(with.link.read(source.sub(0, 1 << 20), other, {}, asio::use_future));
  return is_poisoned(memory.bytes());
}

} // namespace

TEST_CASE_TEMPLATE("a cancelled read touches its buffer no more", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = large});
  const auto source = with.open("source");
  auto memory = with.allocate(large);
  for (const auto after : {0us, 300us, 2000us, 6000us}) {
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    with.link.read(source.all(), memory, {},
                   asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) { ended.set_value(code); }));
    std::this_thread::sleep_for(after);
    stop.emit(asio::cancellation_type::terminal);
    const auto code = soon(ended.get_future());
    CHECK((code == errc::cancelled || !code));
    CHECK(stays_untouched(with, memory));
  }
}

TEST_CASE_TEMPLATE("a cancelled write is over at both ends", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = large});
  const auto target = with.open("target");
  auto memory = with.filled(large, 1);
  for (const auto after : {0us, 300us, 2000us, 6000us}) {
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    with.link.write(memory, target.all(), {},
                    asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) { ended.set_value(code); }));
    std::this_thread::sleep_for(after);
    stop.emit(asio::cancellation_type::terminal);
    const auto code = soon(ended.get_future());
    CHECK((code == errc::cancelled || !code));
    // What is changed now must not arrive: the next write, of other bytes, is verified whole.
    std::ranges::fill(memory.bytes(), poison);
    fill(memory.bytes().first(1 << 20), 2);
    CHECK(soon(with.link.write(memory.sub(0, 1 << 20), target.sub(0, 1 << 20), {}, asio::use_future)).bytes == 1 << 20);
    auto back = with.allocate(1 << 20);
    soon(with.link.read(target.sub(0, 1 << 20), back, {}, asio::use_future));
    CHECK(has_pattern(back.bytes(), 2));
  }
  CHECK(with.client.snapshot().operations == 0);
}

TEST_CASE_TEMPLATE("at its deadline a transfer ends and touches its buffer no more", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = large});
  const auto source = with.open("source");
  auto memory = with.allocate(large);
  for (const auto deadline : {1us, 500us, 3000us}) {
    const auto [code, told] = soon(with.link.read(source.all(), memory, {.deadline = deadline}, outcome));
    CHECK((code == errc::deadline_exceeded || !code));
    CHECK(stays_untouched(with, memory));
  }
  const auto [write, told] = soon(with.link.write(memory, with.open("target").all(), {.deadline = 1us}, outcome));
  CHECK(write == errc::deadline_exceeded);
}

TEST_CASE("a frozen peer ends a transfer at its stall or deadline, and serves again when it goes on" *
          doctest::test_suite("two processes")) {
  rig<in_processes> with({.size = large}, {{"stall.default", "150ms"}});
  const auto source = with.open("source");
  const auto target = with.open("target");
  auto memory = with.allocate(large);
  with.peer.freeze();
  CHECK(std::get<0>(soon(with.link.read(source.all(), memory, {}, outcome))) == errc::peer_unresponsive);
  CHECK(std::get<0>(soon(with.link.write(memory, target.all(), {.deadline = 50ms}, outcome))) ==
        errc::deadline_exceeded);
  CHECK(std::get<0>(soon(with.link.request(bytes_of("echo"), {.deadline = 50ms}, outcome))) == errc::deadline_exceeded);
  with.peer.thaw();
  CHECK(eventually([&] {
    return std::get<0>(soon(with.link.request(bytes_of("echo"), {.deadline = 1s}, outcome))) == error_code{};
  }));
  CHECK(stays_untouched(with, memory));
}

TEST_CASE("a peer frozen in mid-transfer ends it within the deadline" * doctest::test_suite("two processes")) {
  rig<in_processes> with({.size = large});
  const auto target = with.open("target");
  const auto source = with.open("source");
  auto memory = with.allocate(large);
  auto back = with.allocate(large);
  auto writing = with.link.write(memory, target.all(), {.deadline = 300ms}, outcome);
  auto reading = with.link.read(source.all(), back, {.deadline = 300ms}, outcome);
  std::this_thread::sleep_for(2ms);
  with.peer.freeze();
  const auto begin = std::chrono::steady_clock::now();
  for (auto* each : {&writing, &reading}) {
    const auto code = std::get<0>(soon(std::move(*each)));
    CHECK((code == errc::deadline_exceeded || !code));
  }
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  std::ranges::fill(back.bytes(), poison);
  with.peer.thaw();
  CHECK(stays_untouched(with, memory));
  CHECK(is_poisoned(back.bytes()));
}

TEST_CASE("once a revocation is complete nobody writes the region") {
  fabric owner(configured({{"listen", "127.0.0.1:0"}}));
  fabric writer{config{}};
  auto link = soon(writer.connect(owner.address(), asio::use_future));
  auto memory = writer.allocate(byte_count{large}).value();
  auto pool = owner.allocate(byte_count{large}).value();
  auto other = owner.allocate(byte_count{1 << 20}).value();
  owner.publish(other, "other", rights::write).value();
  const auto elsewhere = soon(link.open("other", asio::use_future));
  for (const auto after : {0us, 1000us, 5000us}) {
    owner.publish(pool, "pool", rights::write).value();
    const auto remote = soon(link.open("pool", asio::use_future));
    auto moving = link.write(memory, remote.all(), {}, outcome);
    std::this_thread::sleep_for(after);
    soon(owner.revoke("pool", asio::use_future));
    std::ranges::fill(pool.bytes(), poison);
    for (int i = 0; i < 8; ++i) soon(link.write(memory.sub(0, 1 << 20), elsewhere.all(), {}, asio::use_future));
    CHECK(is_poisoned(pool.bytes()));
    const auto code = std::get<0>(soon(std::move(moving)));
    CHECK((code == errc::revoked || !code));
  }
}
