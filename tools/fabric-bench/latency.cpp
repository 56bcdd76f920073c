// `fabric-bench lat` and `rate`: requests one after the other or at a fixed rate, and as many as go.
#include "fabric-bench/bench.hpp"
#include "fabric-bench/plot.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>
#include <vector>

namespace weft::tools {
namespace {

constexpr std::uint64_t default_size = 4 << 10;
constexpr std::uint64_t default_message = 64;
constexpr std::uint32_t default_depth = 64;
constexpr std::uint64_t smallest_of_all = 64;
constexpr std::uint64_t largest_of_all = 64 << 10;

/// The thread of a caller that does not live on Weft's: each request is handed over to them and back.
class caller_thread {
public:
  caller_thread() : work_(context_.get_executor()), thread_([this] { context_.run(); }) {}
  ~caller_thread() {
    work_.reset();
    thread_.join();
  }
  [[nodiscard]] boost::asio::any_io_executor executor() { return context_.get_executor(); }

private:
  boost::asio::io_context context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
};

result<void> measure(const bench_arguments& arguments, std::string name, request_plan plan, bench_peer& peer,
                     interrupt& signals, bench_report& report) {
  plan.iterations = arguments.iterations;
  plan.warm_up = warm_up_of(arguments);
  plan.duration = arguments.iterations > 0 ? std::chrono::hours{1} : arguments.duration;
  std::optional<caller_thread> own;
  if (arguments.own_context) own.emplace();
  auto load = std::make_shared<request_load>(peer.to, plan, own ? own->executor() : boost::asio::any_io_executor());
  auto counting = load->run();
  auto counted = wait_for(counting, signals);
  if (!counted) {
    load->stop();
    counting.wait();
    return error{errc::cancelled, name};
  }
  report.runs.push_back(row_of(std::move(name), plan, std::move(*counted)));
  return {};
}

} // namespace

result<void> measure_latencies(const bench_arguments& arguments, bench_peer& peer, interrupt& signals,
                               bench_report& report) {
  std::vector<std::uint64_t> sizes = {arguments.size.value_or(default_size)};
  if (arguments.all_sizes) sizes = powers_of_two(smallest_of_all, largest_of_all);
  for (const auto size : sizes) {
    const request_plan plan{.lane = arguments.common.lane.value_or(lane::realtime),
                            .size = size,
                            .rate = arguments.closed_loop ? 0 : arguments.rate};
    if (const auto done = measure(arguments, "lat", plan, peer, signals, report); !done) return done;
  }
  return {};
}

result<void> bench_latency(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  auto peer = meet_peer(arguments, signals, report);
  if (!peer) return peer.error();
  if (const auto done = measure_latencies(arguments, *peer, signals, report); !done) return done;
  return arguments.plot.empty() ? result<void>{} : plot_latencies(arguments.plot, report);
}

result<void> bench_rate(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  auto peer = meet_peer(arguments, signals, report);
  if (!peer) return peer.error();
  const request_plan plan{.lane = arguments.common.lane.value_or(lane::realtime),
                          .size = arguments.size.value_or(default_message),
                          .depth = arguments.depth.value_or(default_depth)};
  return measure(arguments, "rate", plan, *peer, signals, report);
}

} // namespace weft::tools
