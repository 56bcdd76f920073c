// The budget finds its place on any way, keeps the queue short while realtime traffic is about, and lets no silent
// channel hold the others up. The way is a queue with a rate, and the time is the test's.
#include "lane/budget.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <vector>

using namespace weft;
using namespace weft::lanes;
using namespace std::chrono_literals;

namespace {

duration time_of(std::uint64_t bytes, double rate) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 * static_cast<double>(bytes) / rate));
}

/// Somebody who sends bulk, with a place on the host's board.
struct sender {
  sender(board_page& page, std::size_t entry) : board(page, entry) { under_way.add(channel); }

  host_board board;
  budget under_way{board, 0};
  destination there;
  flight channel{there};
  std::uint64_t carried = 0;
  bool busy = true;
};

/// One wire behind one budget, or several: bulk as much as they let go, and a realtime message now and then, of the
/// first, or of a process that sends no bulk.
struct way {
  explicit way(double gigabits, duration realtime = 500us, bool first = false, std::size_t processes = 1)
      : rate(gigabits * 1e9 / 8), realtime_every(realtime), realtime_first(first), apart(page, processes) {
    page.used = static_cast<std::uint32_t>(processes + (processes > 1 ? 1 : 0));
    for (std::size_t i = 0; i < processes; ++i) senders.emplace_back(page, i);
  }

  double rate;                ///< bytes per second
  duration round_trip = 30us; ///< of an empty way
  duration foreign{};         ///< what waits before the wire of others that nobody holds back
  duration realtime_every;    ///< zero: none
  bool realtime_first;        ///< the network lets it pass what waits
  board_page page;
  host_board apart; ///< of a process without bulk
  std::deque<sender> senders;
  budget& under_way() { return senders.front().under_way; }
  flight& channel() { return senders.front().channel; }
  host_board& board() { return senders.size() > 1 ? apart : senders.front().board; }

  time_point now = time_point{} + 1h;
  time_point free_at{}; ///< when the wire has nothing more to send
  struct landing {
    sender* of;
    std::uint64_t marks;
  };
  std::multimap<time_point, landing> landings; ///< by when they are known
  time_point next_message = now;
  std::multimap<time_point, duration> arrivals; ///< of messages: how long each took
  std::uint64_t carried = 0;
  std::vector<duration> latencies;

  void run(duration length) {
    const auto end = now + length;
    carried = 0;
    for (auto& each : senders) each.carried = 0;
    latencies.clear();
    while (now < end) {
      fill();
      auto next = realtime_every > 0us ? next_message : end;
      if (!landings.empty()) next = std::min(next, landings.begin()->first);
      if (!arrivals.empty()) next = std::min(next, arrivals.begin()->first);
      now = std::max(now, std::min(next, end));
      while (!landings.empty() && landings.begin()->first <= now) {
        const auto [of, marks] = landings.begin()->second;
        of->under_way.landed(of->channel, marks, now);
        landings.erase(landings.begin());
      }
      while (!arrivals.empty() && arrivals.begin()->first <= now) {
        board().sample(arrivals.begin()->second, now);
        latencies.push_back(arrivals.begin()->second);
        arrivals.erase(arrivals.begin());
      }
      if (realtime_every > 0us && next_message <= now) {
        board().seen(now);
        const auto waits = realtime_first ? 0ns : std::max<duration>(free_at - now, 0ns);
        const auto takes = foreign + waits + time_of(4096, rate) + round_trip;
        free_at = std::max(free_at, now) + time_of(4096, rate);
        arrivals.emplace(now + takes, takes);
        next_message += realtime_every;
      }
    }
  }

  void fill() {
    for (auto& each : senders) each.under_way.advance(now);
    for (bool any = true; any;) { // a part each, in turn
      any = false;
      for (auto& each : senders) any |= send_part(each);
    }
  }

  bool send_part(sender& from) {
    auto& to = from.under_way;
    if (!to.open() || !from.busy || !to.may_take(from.channel)) return false;
    from.board.bulk_sent(now);
    const auto part = std::min(to.quantum(), to.room());
    const bool marked = to.marks(from.channel, part);
    to.released(from.channel, part, marked, now);
    free_at = std::max(free_at, now) + time_of(part, rate);
    carried += part;
    from.carried += part;
    if (marked) landings.emplace(free_at + foreign + round_trip, landing{&from, from.channel.marks()});
    return true;
  }

  [[nodiscard]] double used(duration length) const {
    return static_cast<double>(carried) / (rate * std::chrono::duration<double>(length).count());
  }
  [[nodiscard]] double typical() const {
    auto sorted = latencies;
    std::sort(sorted.begin(), sorted.end());
    return std::chrono::duration<double>(sorted[sorted.size() / 2]).count();
  }
  /// With as little of bulk in the way as ever is.
  [[nodiscard]] double reachable() const {
    return empty() + std::chrono::duration<double>(time_of(budget::least_crowded / 2, rate)).count();
  }
  [[nodiscard]] double empty() const { return std::chrono::duration<double>(time_of(4096, rate) + round_trip).count(); }
};

} // namespace

TEST_CASE("with nobody waiting a way of any rate is full, and its queue stays within milliseconds") {
  for (const auto rate : {1.0, 10.0, 100.0, 400.0}) {
    CAPTURE(rate);
    way over(rate, 0us);
    over.run(200ms);
    over.run(200ms);
    CHECK(over.used(200ms) > 0.98);
    CHECK(over.free_at - over.now < 20ms);
  }
}

TEST_CASE("beside realtime traffic a way of any rate is nearly full, and the queue in its way is short") {
  for (const auto rate : {1.0, 10.0, 100.0, 400.0}) {
    CAPTURE(rate);
    way over(rate);
    over.run(500ms);
    over.run(500ms);
    CHECK(over.used(500ms) > 0.85);
    CHECK(over.typical() < 1.7 * over.reachable());
  }
}

TEST_CASE("on a way that lets realtime pass bulk has all the rest") {
  for (const auto rate : {1.0, 10.0, 100.0}) {
    CAPTURE(rate);
    way over(rate, 500us, true);
    over.run(500ms);
    over.run(500ms);
    const auto realtime = 4096 * 2000 / over.rate;
    CHECK(over.used(500ms) > 0.96 - realtime);
    CHECK(over.typical() < 1.1 * over.empty());
  }
}

TEST_CASE("realtime traffic that begins beside a full queue, and ends") {
  way over(10, 0us);
  over.run(300ms);
  CHECK(over.under_way().state().limit >= 256 * 1024);
  over.realtime_every = 500us;
  over.next_message = over.now;
  over.run(100ms);
  CHECK(over.under_way().state().crowded);
  over.run(200ms);
  CHECK(over.typical() < 1.7 * over.reachable());
  over.realtime_every = 0us;
  over.run(1300ms);
  CHECK_FALSE(over.under_way().state().crowded);
  over.run(100ms);
  CHECK(over.used(100ms) > 0.98);
}

TEST_CASE("a way that becomes slower is learned anew") {
  way over(10);
  over.run(500ms);
  over.rate /= 5;
  over.run(1s);
  over.run(500ms);
  CHECK(over.used(500ms) > 0.85);
  CHECK(over.typical() < 1.7 * over.reachable());
}

TEST_CASE("bulk of one process makes room for the realtime traffic of another, and shares the way with its like") {
  for (const auto processes : {2U, 4U, 8U}) {
    for (const auto rate : {2.0, 10.0, 100.0}) {
      CAPTURE(processes);
      CAPTURE(rate);
      way over(rate, 500us, false, processes);
      over.run(2s);
      over.run(2s);
      CHECK(over.used(2s) > 0.85);
      CHECK(over.typical() <
            1.7 * (over.empty() +
                   std::chrono::duration<double>(time_of(processes * budget::least_crowded, over.rate)).count()));
      for (const auto& each : over.senders) {
        CHECK(static_cast<double>(each.carried) > 0.5 * static_cast<double>(over.carried) / processes);
      }
    }
  }
}

TEST_CASE("what is promised to lanes is kept, though a queue that is none of theirs stands in the way") {
  for (const auto promised : {std::uint64_t{0}, std::uint64_t{12'500'000}}) {
    CAPTURE(promised);
    way link(2.0);
    link.under_way().keep(promised);
    link.run(3s);
    link.foreign = 20ms;
    link.run(300ms);
    link.run(500ms);
    const auto rate = static_cast<double>(link.carried) / 0.5;
    if (promised > 0) CHECK(rate >= 0.9 * static_cast<double>(promised));
    if (promised == 0) CHECK(rate < 6e6);
  }
}

TEST_CASE("a fixed budget is kept, whoever is about") {
  host_board board;
  budget fixed{board, 64 * 1024};
  destination there;
  flight channel{there};
  fixed.add(channel);
  const auto now = time_point{} + 1h;
  board.seen(now);
  fixed.advance(now);
  std::uint64_t sent = 0;
  while (fixed.open()) {
    fixed.released(channel, fixed.quantum(), true, now);
    sent += fixed.quantum();
  }
  CHECK(sent == 64 * 1024);
  CHECK(fixed.room() == 0);
  fixed.landed(channel, 1, now + 1ms);
  CHECK(fixed.room() == 16 * 1024);
}

TEST_CASE("what a silent channel has under way counts no more after a while, and it gets nothing until it has told") {
  host_board alone;
  budget under_way{alone, 64 * 1024};
  destination here, there;
  flight silent{here}, other{there};
  under_way.add(silent);
  under_way.add(other);
  auto now = time_point{} + 1h;
  under_way.released(silent, 64 * 1024, true, now);
  CHECK_FALSE(under_way.open());
  under_way.expire(now);
  CHECK_FALSE(under_way.open());
  now = std::max(now + budget::patience, under_way.next_due());
  under_way.expire(now);
  CHECK(under_way.open());
  CHECK(silent.parked());
  CHECK_FALSE(other.parked());
  under_way.released(other, 16 * 1024, true, now);
  under_way.landed(silent, 1, now);
  CHECK_FALSE(silent.parked());
  CHECK(under_way.state().bytes == 16 * 1024);
  under_way.remove(other);
  CHECK(under_way.state().bytes == 0);
}

TEST_CASE("a slow channel holds a fast one up for a moment only, though it never stops") {
  host_board alone;
  budget under_way{alone, 64 * 1024};
  destination here, there;
  flight slow{here}, fast{there};
  under_way.add(slow);
  under_way.add(fast);
  auto now = time_point{} + 1h;
  std::uint64_t sent = 0;
  std::multimap<time_point, std::uint64_t> landings; // of the slow one: 16 KiB every 30 ms
  auto slow_free = now;
  for (int turn = 0; turn < 2000; ++turn, now += 1ms) {
    for (; !landings.empty() && landings.begin()->first <= now; landings.erase(landings.begin())) {
      under_way.landed(slow, landings.begin()->second, now);
    }
    if (!under_way.open()) under_way.expire(now);
    while (under_way.open()) {
      const bool turns = !slow.parked() && slow.bytes() <= fast.bytes();
      auto& to = turns ? slow : fast;
      under_way.released(to, under_way.quantum(), true, now);
      if (turns) {
        slow_free = std::max(slow_free, now) + 30ms;
        landings.emplace(slow_free, slow.marks());
      } else {
        sent += under_way.quantum();
      }
    }
    under_way.landed(fast, fast.marks(), now);
  }
  CHECK(sent > 1000 * under_way.quantum()); // of 2000 and more that it could have alone
}

TEST_CASE("what no mark stands behind is not counted, so that a little on each of many channels holds nothing up") {
  host_board alone;
  budget under_way{alone, 64 * 1024};
  destination there;
  std::vector<flight> channels(100, flight(there));
  for (auto& each : channels) under_way.add(each);
  const auto now = time_point{} + 1h;
  for (auto& each : channels) {
    CHECK_FALSE(under_way.marks(each, 4096));
    under_way.released(each, 4096, false, now);
  }
  CHECK(under_way.state().bytes == 0);
  CHECK(under_way.open());
  auto& first = channels[0];
  CHECK(under_way.marks(first, 12 * 1024)); // with it there is a quarter of the budget
  under_way.released(first, 12 * 1024, true, now);
  CHECK(under_way.state().bytes == 16 * 1024);
  under_way.released(first, 4096, false, now);
  under_way.landed(first, 1, now + 1ms);
  CHECK(under_way.state().bytes == 0);
  CHECK(first.unmarked() == 4096);
}

TEST_CASE("however large the budget, many channels that send what fits one quantum are all counted") {
  host_board alone;
  budget under_way{alone, budget::most};
  destination there;
  std::vector<flight> channels(100, flight(there));
  for (auto& each : channels) under_way.add(each);
  const auto now = time_point{} + 1h;
  for (auto& each : channels) {
    if (!under_way.open()) break;
    under_way.released(each, budget::most_quantum, under_way.marks(each, budget::most_quantum), now);
  }
  CHECK(under_way.state().bytes == budget::most);
}

TEST_CASE("a channel with its queue elsewhere leaves the budget to the others, and has no more than it of its own") {
  host_board alone;
  budget under_way{alone, 0};
  destination here, there;
  flight near{here}, far{there};
  under_way.add(near);
  under_way.add(far);
  auto now = time_point{} + 1h;
  // A round that shows what is usual.
  for (int i = 0; i < 16; ++i, now += 50us) {
    under_way.released(near, 256 * 1024, true, now);
    under_way.landed(near, near.marks(), now + 50us);
  }
  under_way.released(far, 512 * 1024, true, now);
  under_way.released(far, 512 * 1024, true, now);
  CHECK(under_way.state().bytes == 1024 * 1024);
  now += 2ms;
  under_way.released(near, 4096, true, now);
  under_way.landed(far, 1, now);
  CHECK(far.far());
  CHECK(under_way.state().bytes == 4096);
  under_way.landed(near, near.marks(), now + 50us);
  CHECK(under_way.may_take(far));
  std::uint64_t taken = 512 * 1024;
  for (; under_way.may_take(far) && taken < 64 * 1024 * 1024; taken += 256 * 1024) {
    under_way.released(far, 256 * 1024, true, now);
  }
  CHECK(taken == under_way.state().limit);
  CHECK(under_way.state().bytes == 0);
  CHECK(under_way.may_take(near));
  // When it is as fast as the others it counts again.
  under_way.landed(far, far.marks() - 1, now + 2ms);
  now += 3ms;
  under_way.released(far, 256 * 1024, true, now);
  under_way.landed(far, far.marks(), now + 50us);
  CHECK_FALSE(far.far());
  under_way.released(far, 256 * 1024, true, now);
  CHECK(under_way.state().bytes == 256 * 1024);
  under_way.remove(far);
  CHECK(under_way.state().bytes == 0);
}

TEST_CASE("channels to one place are never far from each other: what they have under way is their share of one way") {
  host_board alone;
  budget under_way{alone, 0};
  destination one, other;
  flight much{one}, little{one}, elsewhere{other};
  for (auto* each : {&much, &little, &elsewhere}) under_way.add(*each);
  auto now = time_point{} + 1h;
  for (int i = 0; i < 16; ++i, now += 50us) {
    under_way.released(much, 256 * 1024, true, now);
    under_way.landed(much, much.marks(), now + 50us);
  }
  for (auto* each : {&little, &elsewhere}) under_way.released(*each, 64 * 1024, true, now);
  now += 20ms;
  under_way.released(much, 64 * 1024, true, now);
  under_way.landed(much, much.marks(), now + 50us);
  under_way.released(much, 64 * 1024, true, now);
  under_way.landed(little, 1, now);
  CHECK_FALSE(little.far());
  under_way.landed(elsewhere, 1, now);
  CHECK(elsewhere.far());
}

TEST_CASE("beside realtime traffic all that a channel has is counted") {
  host_board board;
  budget under_way{board, 0};
  destination there;
  flight channel{there};
  under_way.add(channel);
  const auto now = time_point{} + 1h;
  CHECK_FALSE(under_way.marks(channel, 4096));
  board.seen(now);
  under_way.advance(now);
  CHECK(under_way.marks(channel, 4096));
  under_way.released(channel, 4096, true, now);
  CHECK(under_way.marks(channel, 4096));
  CHECK(under_way.state().bytes == 4096);
}

TEST_CASE("what a channel has under way when it closes counts no more, and its late landings change nothing") {
  host_board alone;
  budget under_way{alone, 64 * 1024};
  destination there;
  flight channel{there};
  under_way.add(channel);
  const auto now = time_point{} + 1h;
  under_way.released(channel, 4096, true, now);
  under_way.released(channel, 8192, true, now);
  under_way.write_off(channel);
  CHECK(under_way.state().bytes == 0);
  under_way.landed(channel, 2, now + 1ms);
  CHECK(under_way.state().bytes == 0);
  CHECK_FALSE(channel.parked());
}

TEST_CASE("a long way is no silent one") {
  way over(1, 0us);
  over.round_trip = 80ms;
  over.run(10s);
  over.run(10s);
  CHECK_FALSE(over.channel().parked());
  CHECK(over.used(10s) > 0.7);
}

TEST_CASE("a queue that stands for long is not taken for the way") {
  way over(1, 0us);
  over.run(60s);
  CHECK(over.free_at - over.now < 20ms);
  CHECK(over.used(60s) > 0.97);
  CHECK(over.under_way().state().limit <= 4 * 1024 * 1024);
}
