// What is allowed to the senders of a host, beside realtime traffic there: what its link needs, and no queue.
#include "lane/budget.hpp"
#include "lane/ingress.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <vector>

using namespace weft;
using namespace weft::lanes;
using namespace std::chrono_literals;

namespace {

/// A link into a host on which processes receive from some sources each, as a fluid: what is under way beyond what the
/// link holds is a queue before it.
struct host {
  struct process {
    process(board_page& page, std::size_t entry, std::size_t count) : board(page, entry), in(board), sources(count) {
      wait_for(0, count);
    }
    /// Of whom something is awaited; the others send nothing.
    void wait_for(std::size_t first, std::size_t count) {
      awaited.clear();
      is_awaited.assign(sources.size(), false);
      for (std::size_t i = 0; i < count; ++i) {
        const auto which = (first + i) % sources.size();
        awaited.emplace_back(in, sources[which]);
        is_awaited[which] = true;
      }
    }
    host_board board;
    ingress in;
    std::vector<ingress::source> sources;
    std::deque<ingress::awaited> awaited;
    std::vector<bool> is_awaited;
    std::vector<double> rates = std::vector<double>(sources.size());
  };

  host(double gbits, duration trip, std::initializer_list<std::size_t> counts)
      : rate(gbits * 1e9 / 8), round_trip(std::chrono::duration<double>(trip).count()) {
    page.used = static_cast<std::uint32_t>(counts.size());
    for (const auto count : counts) processes.emplace_back(page, processes.size(), count);
  }

  void run(duration length, bool realtime) {
    constexpr double tick = 1e-3;
    for (const auto end = now + length; now < end; now += 1ms) {
      if (realtime) processes.back().board.seen(now);
      std::vector<double> under_way;
      for (auto& each : processes) {
        for (std::size_t i = 0; i < each.sources.size(); ++i) {
          const auto allowed = each.in.allowance(now);
          const auto sent = allowed == 0 ? 2'000'000 : std::min<std::uint64_t>(allowed, 2'000'000);
          under_way.push_back(each.is_awaited[i] ? static_cast<double>(sent) : 0);
        }
      }
      const auto all = std::accumulate(under_way.begin(), under_way.end(), 0.0);
      arrives = std::min(rate, all / round_trip);
      queue = std::max(all - rate * round_trip, 0.0);
      std::size_t at = 0;
      for (auto& each : processes) {
        for (std::size_t i = 0; i < each.sources.size(); ++i, ++at) {
          const auto share = arrives * under_way[at] / all;
          each.rates[i] = 0.98 * each.rates[i] + 0.02 * share;
          for (auto left = share * tick; left > 0; left -= 16384) {
            each.in.arrived(each.sources[i], static_cast<std::uint64_t>(std::min(left, 16384.0)), each.in.limits(now),
                            now);
          }
        }
      }
    }
  }

  board_page page;
  double rate;
  double round_trip;
  std::deque<process> processes;
  time_point now = time_point{} + 1h;
  double arrives = 0;
  double queue = 0; ///< bytes
};

} // namespace

TEST_CASE("nobody is limited while there is no realtime traffic") {
  host in(10, 100us, {4});
  in.run(1s, false);
  CHECK_FALSE(in.processes[0].in.limits(in.now));
  CHECK(in.processes[0].in.allowance(in.now) == 0);
  in.run(3s, true);
  CHECK(in.processes[0].in.limits(in.now));
  in.run(3s, false);
  CHECK_FALSE(in.processes[0].in.limits(in.now));
}

TEST_CASE("beside realtime traffic the link stays full without a queue, whoever on the host it is for") {
  for (const double gbits : {2.0, 10.0, 100.0}) {
    for (const auto& counts : {std::initializer_list<std::size_t>{4}, {1, 1, 1}, {6, 1}}) {
      CAPTURE(gbits);
      CAPTURE(counts.size());
      host in(gbits, 200us, counts);
      in.run(200ms, false);
      in.run(6s, true);
      double used = 0, waits = 0;
      for (int i = 0; i < 1000; ++i) {
        in.run(1ms, true);
        used += in.arrives / in.rate / 1000;
        waits += in.queue / in.rate / 1000;
      }
      CHECK(used > 0.94);
      CHECK(waits < 0.75 * in.round_trip);
      std::vector<double> rates;
      for (const auto& each : in.processes) rates.insert(rates.end(), each.rates.begin(), each.rates.end());
      const auto [least, most] = std::minmax_element(rates.begin(), rates.end());
      CHECK(*most < 1.5 * *least);
    }
  }
}

TEST_CASE("however many of a crowd send at a time, what they have under way together is the same") {
  host in(100, 200us, {64});
  auto& receiver = in.processes[0];
  in.run(200ms, false);
  double used = 0, waits = 0;
  for (int i = 0; i < 6000; ++i) {
    const auto turn = static_cast<std::size_t>(i);
    receiver.wait_for(turn * 7, 8 + turn * 5 % 33);
    in.run(1ms, true);
    if (i < 5000) continue;
    used += in.arrives / in.rate / 1000;
    waits += in.queue / in.rate / 1000;
  }
  CHECK(used > 0.94);
  CHECK(waits < 0.75 * in.round_trip);
}

TEST_CASE("of whom something is awaited in vain takes from nobody") {
  host in(10, 200us, {8});
  auto& receiver = in.processes[0];
  in.run(3s, true);
  std::fill(receiver.is_awaited.begin() + 2, receiver.is_awaited.end(), false);
  in.run(500ms, true);
  CHECK(in.arrives > 0.9 * in.rate);
  CHECK(receiver.in.limits(in.now));
}

TEST_CASE("a link that became a faster one is found out") {
  host in(10, 200us, {4});
  in.run(3s, true);
  in.rate *= 4;
  in.run(30s, true);
  CHECK(in.arrives > 0.9 * in.rate);
}

TEST_CASE("a long way does not make the link idle") {
  host in(2, 10ms, {6});
  in.run(10s, true);
  CHECK(in.arrives > 0.9 * in.rate);
}

TEST_CASE("a pause of the senders, or the end of some, is no loss that too little under way has made") {
  host in(10, 200us, {4});
  in.run(3s, true);
  for (const auto pause : {20ms, 100ms, 500ms}) {
    CAPTURE(pause.count());
    int limited = 0;
    for (int i = 0; i < 20; ++i) {
      in.now += pause;
      in.run(300ms, true);
      limited += in.processes[0].in.limits(in.now) ? 1 : 0;
    }
    CHECK(limited == 20);
  }
  host beside(10, 200us, {2, 6});
  beside.run(3s, true);
  REQUIRE(beside.processes[0].in.limits(beside.now));
  beside.processes[1].awaited.clear();
  beside.processes[1].sources.clear();
  beside.processes[1].rates.clear();
  int limited = 0;
  for (int i = 0; i < 30; ++i) {
    beside.run(100ms, true);
    limited += beside.processes[0].in.limits(beside.now) ? 1 : 0;
  }
  CHECK(limited == 30);
}

TEST_CASE("one sender alone is told nothing") {
  host in(10, 200us, {1});
  in.run(5s, true);
  CHECK_FALSE(in.processes[0].in.limits(in.now));
}
