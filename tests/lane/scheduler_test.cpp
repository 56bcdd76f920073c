// The scheduler shares a rail by weight, leaves nothing idle, and takes turns inside a lane.
#include "by_weight.hpp"
#include "source.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

using namespace weft;
using lanes::by_weight;
using lanes::host_board;
using lanes::scheduler;
using lanes::source;

namespace {

constexpr std::uint64_t plenty = std::uint64_t{1} << 40;

double share(const source& of, std::uint64_t total) {
  return static_cast<double>(of.sent) / static_cast<double>(total);
}

} // namespace

TEST_CASE("busy lanes share by their weights, whatever their slices") {
  for (const auto large : {64U * 1024, 256U * 1024, 1024U * 1024}) {
    CAPTURE(large);
    host_board alone;
    scheduler rail(by_weight({16, 8, 4, 1}), alone);
    source realtime(plenty), standard(plenty, 4096), bulk(plenty, large), background(plenty, large);
    rail.ready(lane::background, background);
    rail.ready(lane::bulk, bulk);
    rail.ready(lane::standard, standard);
    rail.ready(lane::realtime, realtime);
    std::uint64_t total = 0;
    while (total < 2'000'000'000) total += rail.run(1'000'000);
    CHECK(share(realtime, total) == doctest::Approx(16.0 / 29).epsilon(0.03));
    CHECK(share(standard, total) == doctest::Approx(8.0 / 29).epsilon(0.03));
    CHECK(share(bulk, total) == doctest::Approx(4.0 / 29).epsilon(0.03));
    CHECK(share(background, total) == doctest::Approx(1.0 / 29).epsilon(0.03));
  }
}

TEST_CASE("a lane alone gets the whole rail, however small its weight") {
  host_board alone;
  scheduler rail(by_weight({16, 8, 4, 1}), alone);
  source only(10'000'000);
  rail.ready(lane::background, only);
  CHECK(rail.run(plenty) == 10'000'000);
  CHECK(rail.idle());
}

TEST_CASE("a lane that overdrew pays even when it ran empty in between") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source steady(plenty), bursty(0, 1024 * 1024);
  rail.ready(lane::standard, steady);
  std::uint64_t total = 0;
  while (total < 1'000'000'000) {
    // One large slice at a time, as a channel with room for one would ask for it.
    if (bursty.left == 0) bursty.left = bursty.size;
    rail.ready(lane::bulk, bursty);
    total += rail.run(64 * 1024);
  }
  CHECK(share(bursty, total) < 0.55);
}

TEST_CASE("a lane that comes back has no claim on the time it was idle") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source steady(plenty), late(plenty);
  rail.ready(lane::bulk, steady);
  rail.run(100'000'000);
  rail.ready(lane::standard, late);
  const auto before = steady.sent;
  rail.run(10'000'000);
  CHECK(steady.sent - before == doctest::Approx(5'000'000).epsilon(0.05));
}

TEST_CASE("a lane that its channels hold up makes its turns good, up to a bound") {
  struct channelled final : lanes::flow {
    std::uint64_t send(std::uint64_t quantum) override {
      if (held) return 0;
      sent += quantum;
      return quantum;
    }
    [[nodiscard]] bool is_held_up() const noexcept override { return held; }
    bool held = false;
    std::uint64_t sent = 0;
  };
  for (const bool third : {false, true}) {
    CAPTURE(third);
    host_board alone;
    scheduler rail(by_weight({1, 4, 2, 1}), alone);
    channelled stuck;
    source bulk(plenty), background(third ? plenty : 0);
    rail.ready(lane::bulk, bulk);
    rail.ready(lane::background, background);
    const auto run = [&](bool held, std::uint64_t bytes) {
      stuck.held = held;
      rail.ready(lane::standard, stuck);
      for (std::uint64_t total = 0; total < bytes;) total += rail.run(100'000);
    };
    // A fifth of the time, a few rounds long: the share is what it would be without.
    for (int i = 0; i < 300; ++i) run(i % 5 == 0, 1'000'000);
    CHECK(static_cast<double>(stuck.sent) / static_cast<double>(bulk.sent) == doctest::Approx(2).epsilon(0.03));
    // Long: it has no claim on all of that.
    run(true, 1'000'000'000);
    const auto before = stuck.sent;
    const auto others = bulk.sent + background.sent;
    run(false, 100'000'000);
    const auto claim = static_cast<double>(scheduler::most_rounds_saved) * 4 * scheduler::quantum;
    const auto fair = (100e6 - claim) * 4 / (third ? 7 : 6);
    CHECK(static_cast<double>(stuck.sent - before) == doctest::Approx(fair + claim).epsilon(0.03));
    CHECK(bulk.sent + background.sent > others);
  }
}

TEST_CASE("flows of one lane take turns") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source first(plenty), second(plenty), third(plenty);
  for (auto* flow : {&first, &second, &third}) rail.ready(lane::bulk, *flow);
  rail.run(300'000'000);
  CHECK(first.sent == doctest::Approx(second.sent).epsilon(0.05));
  CHECK(second.sent == doctest::Approx(third.sent).epsilon(0.05));
}

TEST_CASE("turns are long while one lane is busy, and end when another has something") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source bulk(plenty), realtime(64 * 1024);
  rail.ready(lane::bulk, bulk);
  rail.run(10 * scheduler::lone_quantum);
  CHECK(bulk.turns == 10);
  rail.ready(lane::realtime, realtime);
  const auto before = bulk.sent;
  while (realtime.left > 0) rail.run(64 * 1024);
  CHECK(bulk.sent - before <= 64 * 1024);
}

TEST_CASE("no more than the allowance and one slice goes out") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source only(plenty);
  rail.ready(lane::bulk, only);
  CHECK(rail.run(1) == 64 * 1024);
  CHECK(rail.run(0) == 0);
  CHECK_FALSE(rail.idle());
}

TEST_CASE("a flow that cannot go on is asked again only when it is ready again") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source empty(0);
  rail.ready(lane::bulk, empty);
  CHECK(rail.run(plenty) == 0);
  CHECK(empty.turns == 1);
  rail.run(plenty);
  CHECK(empty.turns == 1);
  empty.left = 5;
  rail.ready(lane::bulk, empty);
  rail.ready(lane::bulk, empty);
  CHECK(rail.run(plenty) == 5);
}

TEST_CASE("a removed flow is never asked, and may be removed twice") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source gone(plenty), stays(1000);
  rail.ready(lane::bulk, gone);
  rail.ready(lane::bulk, stays);
  rail.remove(lane::bulk, gone);
  rail.remove(lane::bulk, gone);
  CHECK(rail.run(plenty) == 1000);
  CHECK(gone.turns == 0);
}

TEST_CASE("weights can change under way") {
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source left(plenty), right(plenty);
  rail.ready(lane::standard, left);
  rail.ready(lane::bulk, right);
  rail.run(10'000'000);
  rail.set(by_weight({1, 9, 1, 1}));
  const auto before_left = left.sent;
  const auto before_right = right.sent;
  rail.run(100'000'000);
  CHECK(static_cast<double>(left.sent - before_left) / static_cast<double>(right.sent - before_right) ==
        doctest::Approx(9).epsilon(0.05));
}

TEST_CASE("a flow that is held up counts as a wait, one that has sent all does not") {
  struct blocked final : lanes::flow {
    std::uint64_t send(std::uint64_t) override { return 0; }
    [[nodiscard]] bool is_held_up() const noexcept override { return true; }
  } stuck;
  host_board alone;
  scheduler rail(by_weight({1, 1, 1, 1}), alone);
  source done(64 * 1024);
  rail.ready(lane::bulk, done);
  rail.run(plenty);
  CHECK(rail.waits().channel == 0);
  rail.ready(lane::bulk, stuck);
  rail.run(plenty);
  CHECK(rail.waits().channel == 1);
}
