// What links, long lists and a frozen server cost, as one JSON document: `link-costs idle|busy|pieces ADDRESS [COUNT]`
// and `link-costs frozen ADDRESS PID` against `fabric-bench serve`. Used by perf/costs.
#include <weft/fabric.hpp>

#include <boost/asio/use_future.hpp>
#include <fmt/format.h>

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using boost::asio::use_future;
using clock_type = std::chrono::steady_clock;

constexpr std::size_t operation_size = 1 << 20;
constexpr std::size_t slots = 16;

double seconds_since(clock_type::time_point begun) {
  return std::chrono::duration<double>(clock_type::now() - begun).count();
}

double median(std::vector<double> of) {
  std::sort(of.begin(), of.end());
  return of[of.size() / 2];
}

std::size_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6)) * 1024;
  }
  return 0;
}

std::vector<weft::link> open_links(weft::fabric& from, const std::string& address, std::size_t count) {
  std::vector<weft::link> links;
  for (std::size_t i = 0; i < count; ++i) links.push_back(from.connect(address, use_future).get());
  return links;
}

/// Each link has been used once: its realtime and standard channels are open.
void idle(weft::fabric& from, const std::string& address, std::size_t count) {
  auto links = open_links(from, address, 1);
  const std::vector<std::byte> words(64);
  const auto use = [&](weft::link& link) {
    link.request(words, {}, use_future).get();
    std::ignore = link.open("bench", use_future).get();
  };
  use(links[0]);
  const auto before = resident_bytes();
  auto more = open_links(from, address, count);
  for (auto& link : more) use(link);
  const auto each = static_cast<double>(resident_bytes() - before) / static_cast<double>(count);
  std::this_thread::sleep_for(7s); // beyond connect.timeout, when the timers of connecting end
  fmt::print("{{\"bytes_each\": {:.0f}, \"ready\": true}}\n", each);
  std::fflush(stdout);
  std::this_thread::sleep_for(5s); // while others count the processor time
}

/// Writes on all links at once, `depth` in flight on each, for a moment. GB/s.
double throughput(std::vector<weft::link>& links, const weft::region& memory, std::size_t depth) {
  struct state {
    std::atomic<std::uint64_t> operations = 0;
    std::atomic<bool> stop = false;
    std::atomic<std::size_t> flying = 0;
    std::promise<void> over;
  };
  auto shared = std::make_shared<state>();
  std::vector<weft::remote_region> remotes;
  for (auto& link : links) remotes.push_back(link.open("bench", use_future).get());
  // Every writer goes through all of the memory: how much of it the caches hold does not depend on the number of links.
  struct writer {
    static void next(weft::link link, const weft::region& from, weft::remote_region to, std::size_t slot,
                     std::shared_ptr<state> all) {
      const auto at = (slot % slots) * operation_size;
      link.write(from.sub(at, operation_size), to.sub(at, operation_size), {},
                 [=](weft::error_code code, const weft::transfer_result&) {
                   if (code) std::abort();
                   ++all->operations;
                   if (!all->stop) return next(link, from, to, slot + 1, all);
                   if (--all->flying == 0) all->over.set_value();
                 });
    }
  };
  shared->flying = links.size() * depth;
  for (std::size_t i = 0; i < links.size() * depth; ++i) {
    writer::next(links[i % links.size()], memory, remotes[i % links.size()], i, shared);
  }
  std::this_thread::sleep_for(50ms);
  const auto before = shared->operations.load();
  const auto begun = clock_type::now();
  std::this_thread::sleep_for(200ms);
  const auto rate = static_cast<double>((shared->operations - before) * operation_size) / seconds_since(begun) / 1e9;
  shared->stop = true;
  shared->over.get_future().wait();
  return rate;
}

void busy(weft::fabric& from, const std::string& address, std::size_t count) {
  const auto memory = from.allocate(weft::byte_count{slots * operation_size}).value();
  auto one = open_links(from, address, 1);
  auto many = open_links(from, address, count);
  // In turn, many times over, as the host's speed changes from one second to the next; and each at the better of two
  // depths: one link that waits is nothing to hold many against.
  constexpr int turns = 8;
  double alone = 0;
  double together = 0;
  for (const bool deep : {false, true}) {
    std::vector<double> of_one;
    std::vector<double> of_many;
    for (int turn = 0; turn < turns; ++turn) {
      of_one.push_back(throughput(one, memory, deep ? slots : 4));
      of_many.push_back(throughput(many, memory, deep ? 4 : 1));
    }
    alone = std::max(alone, median(of_one));
    together = std::max(together, median(of_many));
  }
  fmt::print("{{\"one\": {:.3f}, \"many\": {:.3f}}}\n", alone, together);
}

/// How long the call takes that begins a transfer of many pieces, in milliseconds.
double submission(weft::link& link, const weft::region& memory, const weft::remote_region& remote,
                  const std::vector<weft::piece>& pieces) {
  std::atomic<int> completions = 0;
  std::promise<weft::transfer_result> ended;
  auto copy = pieces;
  const auto begun = clock_type::now();
  link.write(memory, remote.sub(0, memory.size()), std::move(copy), {.piece_status = true},
             [&](weft::error_code code, weft::transfer_result result) {
               if (code) std::abort();
               ++completions;
               ended.set_value(std::move(result));
             });
  const auto took = 1000 * seconds_since(begun);
  const auto result = ended.get_future().get();
  std::this_thread::sleep_for(20ms);
  const bool all_told = result.pieces.size() == pieces.size() &&
                        std::none_of(result.pieces.begin(), result.pieces.end(), [](auto code) { return bool(code); });
  if (completions != 1 || !all_told) std::abort();
  return took;
}

void pieces(weft::fabric& from, const std::string& address, std::size_t count) {
  constexpr std::size_t length = 512;
  auto links = open_links(from, address, 1);
  const auto remote = links[0].open("bench", use_future).get();
  const auto memory = from.allocate(weft::byte_count{count * length}).value();
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937(1));
  std::vector<weft::piece> indexed;
  for (std::size_t i = 0; i < count; ++i) indexed.push_back({i * length, order[i] * length, length});
  const auto strided = weft::strided({0, 0, length / 2}, length, length, count);
  std::vector<double> indexed_ms;
  std::vector<double> strided_ms;
  for (int round = 0; round < 20; ++round) {
    indexed_ms.push_back(submission(links[0], memory, remote, indexed));
    strided_ms.push_back(submission(links[0], memory, remote, strided));
  }
  fmt::print("{{\"indexed_ms\": {:.3f}, \"strided_ms\": {:.3f}}}\n", median(indexed_ms), median(strided_ms));
}

/// The server is stopped in the middle of a write and a read: how long after their deadline these end, in milliseconds.
void frozen(weft::fabric& from, const std::string& address, pid_t server) {
  constexpr auto deadline = 300ms;
  auto link = open_links(from, address, 1)[0];
  const auto remote = link.open("bench", use_future).get();
  const auto here = from.allocate(weft::byte_count{remote.size}).value();
  const auto there = from.allocate(weft::byte_count{remote.size}).value();
  std::vector<double> late;
  for (int round = 0; round < 10; ++round) {
    std::promise<void> ends[2];
    const auto begun = clock_type::now();
    std::atomic<double> took[2] = {0, 0};
    const auto end = [&](int which) {
      return [&, which](weft::error_code code, const weft::transfer_result&) {
        if (code == weft::errc::deadline_exceeded) took[which] = seconds_since(begun);
        ends[which].set_value();
      };
    };
    link.write(here, remote.sub(0, here.size()), {.deadline = deadline}, end(0));
    link.read(remote.sub(0, there.size()), there, {.deadline = deadline}, end(1));
    std::this_thread::sleep_for(2ms);
    ::kill(server, SIGSTOP);
    for (auto& each : ends) each.get_future().wait();
    ::kill(server, SIGCONT);
    for (const auto& each : took) {
      if (each > 0) late.push_back(1000 * (each - std::chrono::duration<double>(deadline).count()));
    }
    link.request({}, {.deadline = 10s}, use_future).get();
  }
  if (late.empty()) std::abort(); // all was over before the server was stopped
  fmt::print("{{\"median_ms\": {:.3f}, \"most_ms\": {:.3f}, \"count\": {}}}\n", median(late),
             *std::max_element(late.begin(), late.end()), late.size());
}

} // namespace

int main(int argument_count, char** arguments) {
  if (argument_count < 3) return 2;
  const std::string what = arguments[1];
  const auto count = argument_count > 3 ? std::stoul(arguments[3]) : 1; // or a process
  weft::fabric here{weft::config::load({}).value()};
  if (what == "idle") idle(here, arguments[2], count);
  if (what == "busy") busy(here, arguments[2], count);
  if (what == "pieces") pieces(here, arguments[2], count);
  if (what == "frozen") frozen(here, arguments[2], static_cast<pid_t>(count));
}
