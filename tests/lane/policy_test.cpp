// What a policy promises, under any policy and any pattern of arrivals: properties over a rail with a rate, in virtual
// time.
#include "by_weight.hpp"
#include "source.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <vector>

using namespace weft;
using lanes::policies;
using lanes::scheduler;
using lanes::source;

namespace {

constexpr std::uint64_t slice = 256 * 1024;
constexpr std::uint64_t rate = 1'250'000'000; ///< of the rail: 10 Gb/s
constexpr std::uint64_t forever = std::uint64_t{1} << 50;

/// A rail that carries what its scheduler lets go, at its rate.
struct model {
  explicit model(const policies& chosen) : rail(chosen, host), policy(chosen) {
    for (auto& each : sources) each.size = slice;
  }

  void add(lane on, std::uint64_t bytes) {
    auto& to = sources[static_cast<std::size_t>(on)];
    to.left += bytes;
    rail.ready(on, to);
  }
  void busy(const std::vector<bool>& which) {
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (which[i]) add(static_cast<lane>(i), forever);
    }
  }
  void change(const policies& chosen) { rail.set(policy = chosen); }
  /// `seen` is called behind every step.
  template <class Seen>
  void run(duration time, Seen&& seen) {
    const auto end = now + time;
    while (now < end) {
      rail.advance(now);
      const auto sent = rail.run(allowance);
      if (sent > 0) {
        now += std::chrono::nanoseconds(sent * 1'000'000'000 / rate);
      } else {
        check_idle();
        now = std::min(end, std::max(rail.next_due(), now + std::chrono::nanoseconds(1)));
      }
      seen();
    }
  }
  void run(duration time) {
    run(time, [] {});
  }
  /// Nothing was sent: every lane that has something has sent all that its limit allows until now, and will be woken.
  void check_idle() const {
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (sources[i].left == 0) continue;
      RC_ASSERT(policy[i].limit != 0U);
      const auto turn = static_cast<double>(scheduler::quantum + slice) / static_cast<double>(policy[i].limit);
      RC_ASSERT(rail.next_due() > now);
      RC_ASSERT(std::chrono::duration<double>(rail.next_due() - now).count() <= turn);
    }
  }
  [[nodiscard]] std::uint64_t sent(std::size_t which) const { return sources[which].sent; }
  [[nodiscard]] std::uint64_t total() const {
    return std::accumulate(sources.begin(), sources.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const source& each) { return sum + each.sent; });
  }

  lanes::host_board host;
  scheduler rail;
  policies policy;
  std::uint64_t allowance = 64 * 1024;
  std::array<source, lane_count> sources;
  time_point now = time_point{} + std::chrono::hours(1);
};

std::vector<bool> some_lanes() {
  auto which = *rc::gen::container<std::vector<bool>>(lane_count, rc::gen::arbitrary<bool>());
  RC_PRE(std::find(which.begin(), which.end(), true) != which.end());
  return which;
}

std::array<std::uint32_t, lane_count> some_weights() {
  std::array<std::uint32_t, lane_count> weights{};
  for (auto& each : weights) each = *rc::gen::inRange<std::uint32_t>(1, 33);
  return weights;
}

/// Reservations of up to nine tenths of the rail together.
policies some_reservations() {
  auto chosen = lanes::by_weight(some_weights());
  auto left = rate * 9 / 10;
  for (auto& each : chosen) {
    each.reservation = *rc::gen::oneOf(rc::gen::just<std::uint64_t>(0), rc::gen::inRange<std::uint64_t>(0, left + 1));
    left -= each.reservation;
  }
  return chosen;
}

std::uint64_t some_limit() {
  return *rc::gen::inRange<std::uint64_t>(1'000'000, rate);
}

double of(std::uint64_t bytes, std::uint64_t total) {
  return static_cast<double>(bytes) / static_cast<double>(total);
}

} // namespace

TEST_CASE("busy lanes share by weight within 3 percent, whichever they are") {
  CHECK(rc::check([] {
    const auto weights = some_weights();
    const auto which = some_lanes();
    model link(lanes::by_weight(weights));
    link.busy(which);
    link.run(std::chrono::seconds(1));
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < lane_count; ++i) all += which[i] ? weights[i] : 0;
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (!which[i]) continue;
      const auto share = of(weights[i], all);
      // Of a small share a slice more or less is much.
      const auto slack = 0.03 * share + of(4 * slice, link.total());
      RC_ASSERT(std::abs(of(link.sent(i), link.total()) - share) <= slack);
    }
  }));
}

TEST_CASE("a busy lane gets what it has reserved, whatever the weights of the others") {
  CHECK(rc::check([] {
    const auto chosen = some_reservations();
    const auto which = some_lanes();
    model link(chosen);
    link.busy(which);
    link.run(std::chrono::seconds(1));
    for (std::size_t i = 0; i < lane_count; ++i) {
      if (which[i]) RC_ASSERT(link.sent(i) + 4 * slice >= chosen[i].reservation * 97 / 100);
    }
  }));
}

TEST_CASE("what a lane had while it was alone does not count against its reservation") {
  CHECK(rc::check([] {
    auto chosen = lanes::by_weight({1, 1000, 4, 1});
    chosen[2].reservation = *rc::gen::inRange<std::uint64_t>(1, rate * 9 / 10);
    model link(chosen);
    link.add(lane::bulk, forever);
    link.run(std::chrono::seconds(1));
    link.add(lane::standard, forever);
    const auto before = link.sent(2);
    link.run(std::chrono::seconds(1));
    RC_ASSERT(link.sent(2) - before + 4 * slice >= chosen[2].reservation * 97 / 100);
  }));
}

TEST_CASE("no lane exceeds its limit by more than a burst, in any window of time") {
  CHECK(rc::check([] {
    auto chosen = lanes::by_weight(some_weights());
    for (auto& each : chosen) each.weight *= *rc::gen::element(1U, 30U);
    for (auto& each : chosen) each.limit = some_limit();
    const auto which = some_lanes();
    model link(chosen);
    link.allowance = *rc::gen::element<std::uint64_t>(64 * 1024, 4 * 1024 * 1024);
    link.busy(which);
    // As a bucket: what a limit does not explain since the worst moment before.
    std::array<double, lane_count> over{}, most{};
    std::array<std::uint64_t, lane_count> before{};
    auto last = link.now;
    link.run(std::chrono::milliseconds(300), [&] {
      const auto passed = std::chrono::duration<double>(link.now - last).count();
      last = link.now;
      for (std::size_t i = 0; i < lane_count; ++i) {
        over[i] += static_cast<double>(link.sent(i) - before[i]);
        before[i] = link.sent(i);
        most[i] = std::max(most[i], over[i]);
        over[i] = std::max(0.0, over[i] - passed * static_cast<double>(chosen[i].limit));
      }
    });
    for (std::size_t i = 0; i < lane_count; ++i) {
      const auto burst =
          static_cast<double>(chosen[i].limit) * std::chrono::duration<double>(scheduler::longest_lag).count();
      RC_ASSERT(most[i] <= burst + static_cast<double>(scheduler::quantum + 2 * slice));
    }
  }));
}

TEST_CASE("a limit is reached when nothing else holds the lane back") {
  CHECK(rc::check([] {
    auto chosen = lanes::by_weight(some_weights());
    const auto on = *rc::gen::inRange<std::size_t>(0, lane_count);
    chosen[on].limit = some_limit();
    model link(chosen);
    link.add(static_cast<lane>(on), forever);
    link.run(std::chrono::seconds(1));
    const auto expected = static_cast<double>(chosen[on].limit);
    RC_ASSERT(std::abs(static_cast<double>(link.sent(on)) - expected) <= 0.02 * expected + 2.0 * slice);
  }));
}

TEST_CASE("the rail is never idle while a lane below its limit has something") {
  CHECK(rc::check([] {
    auto chosen = some_reservations();
    for (auto& each : chosen) {
      // A limit lies above what is reserved; 0 is none.
      if (*rc::gen::arbitrary<bool>()) each.limit = each.reservation + some_limit();
    }
    model link(chosen);
    for (int burst = 0; burst < 20; ++burst) {
      link.add(static_cast<lane>(*rc::gen::inRange<std::size_t>(0, lane_count)),
               *rc::gen::inRange<std::uint64_t>(1, 4'000'000));
      // run() returns early only when nothing may be sent: the model asserts it.
      link.run(std::chrono::microseconds(*rc::gen::inRange(1, 3000)));
    }
  }));
}

TEST_CASE("no busy lane waits longer than a round of all the others, under any arrivals of theirs") {
  CHECK(rc::check([] {
    const auto chosen = some_reservations();
    const auto waiting = *rc::gen::inRange<std::size_t>(0, lane_count);
    model link(chosen);
    link.add(static_cast<lane>(waiting), forever);
    std::uint64_t weights = 0, reserved = 0;
    for (std::size_t i = 0; i < lane_count; ++i) {
      weights += chosen[i].weight;
      if (i != waiting) reserved += chosen[i].reservation;
    }
    // A round by weight, and a slice of each; slower by what others have reserved.
    const auto round = weights * scheduler::quantum + (weights + 2 * lane_count) * slice;
    const auto longest = of(round, rate - reserved) + 2 * std::chrono::duration<double>(scheduler::longest_lag).count();
    auto last = link.now;
    auto sent = link.sent(waiting);
    for (int burst = 0; burst < 150; ++burst) {
      for (std::size_t i = 0; i < lane_count; ++i) {
        if (i != waiting && *rc::gen::arbitrary<bool>())
          link.add(static_cast<lane>(i), *rc::gen::inRange<std::uint64_t>(1, 40'000'000));
      }
      link.run(std::chrono::milliseconds(3), [&] {
        if (link.sent(waiting) > sent) {
          sent = link.sent(waiting);
          last = link.now;
        }
        RC_ASSERT(std::chrono::duration<double>(link.now - last).count() <= longest);
      });
    }
  }));
}

TEST_CASE("a lane of much more weight leaves another what that has reserved") {
  auto chosen = lanes::by_weight({1000, 1, 1, 1});
  chosen[2].reservation = rate / 20;
  model link(chosen);
  link.busy({true, false, true, false});
  link.run(std::chrono::seconds(1));
  CHECK(of(link.sent(2), link.total()) >= 0.0475);
}

TEST_CASE("a policy that changes under way is in force from the next quantum on") {
  CHECK(rc::check([] {
    auto chosen = lanes::by_weight(some_weights());
    model link(chosen);
    link.busy({false, true, true, false});
    link.run(std::chrono::milliseconds(*rc::gen::inRange(1, 100)));
    chosen[2].limit = some_limit();
    link.change(chosen);
    const auto before = link.sent(2);
    link.run(std::chrono::milliseconds(200));
    const auto allowed =
        static_cast<double>(chosen[2].limit) * (0.2 + std::chrono::duration<double>(scheduler::longest_lag).count());
    RC_ASSERT(static_cast<double>(link.sent(2) - before) <= allowed + 2.0 * slice);
    chosen[2].limit = *rc::gen::element<std::uint64_t>(0, rate);
    link.change(chosen);
    const auto limited = link.sent(2);
    const auto all = link.total();
    link.run(std::chrono::milliseconds(200));
    const auto share = of(chosen[2].weight, chosen[1].weight + chosen[2].weight);
    RC_ASSERT(of(link.sent(2) - limited, link.total() - all) >= 0.9 * share - of(4 * slice, link.total() - all));
  }));
}

TEST_CASE("the table of tunables makes the policy") {
  tunables limits;
  limits.lane_bulk_weight = 7;
  limits.lane_bulk_reservation = rail_rate(bytes_per_second(5));
  limits.lane_bulk_limit = rail_rate(bytes_per_second(9));
  const auto made = lanes::policies_of(limits, {});
  CHECK(made[2] == lanes::policy{7, 5, 9});
  limits.lane_bulk_limit = rail_rate::of_rail(2000);
  limits.threads_data = 2;
  CHECK(lanes::policies_of(limits, bytes_per_second(1'000'000))[2] == lanes::policy{7, 2, 100'000});
  CHECK(lanes::policies_of(limits, {})[2].limit == 0);
}
