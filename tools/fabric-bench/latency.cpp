// `fabric-bench lat`: the full round trip of requests, at a fixed rate by default.
#include "fabric-bench/bench.hpp"

#include <vector>

namespace weft::tools {
namespace {

constexpr std::uint64_t default_size = 4 << 10;
constexpr std::uint64_t smallest_of_all = 64;
constexpr std::uint64_t largest_of_all = 64 << 10;

std::vector<std::uint64_t> sizes_of(const bench_arguments& arguments) {
  if (!arguments.all_sizes) return {arguments.size.value_or(default_size)};
  std::vector<std::uint64_t> sizes;
  for (auto size = smallest_of_all; size <= largest_of_all; size *= 2) sizes.push_back(size);
  return sizes;
}

} // namespace

result<void> bench_latency(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  auto peer = meet_peer(arguments, signals, report);
  if (!peer) return peer.error();
  for (const auto size : sizes_of(arguments)) {
    const request_plan plan{.lane = arguments.common.lane.value_or(lane::realtime),
                            .size = size,
                            .rate = arguments.closed_loop ? 0 : arguments.rate,
                            .iterations = arguments.iterations,
                            .warm_up = warm_up_of(arguments),
                            .duration = arguments.iterations > 0 ? std::chrono::hours{1} : arguments.duration};
    auto counting = std::make_shared<request_load>(peer->to, plan, peer->on->executor(plan.lane))->run();
    auto counted = wait_for(counting, signals);
    if (!counted) return error{errc::cancelled, "lat"};
    report.runs.push_back(row_of("lat", plan, std::move(*counted)));
  }
  return {};
}

} // namespace weft::tools
