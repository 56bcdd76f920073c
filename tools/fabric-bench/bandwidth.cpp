// `fabric-bench bw`: writes to, or reads from, the region that a server publishes, many in flight.
#include "fabric-bench/bench.hpp"
#include "fabric-bench/pattern.hpp"
#include "fabric-bench/plot.hpp"
#include "fabric-bench/transfer_load.hpp"

#include <weft/units.hpp>

#include <fmt/format.h>

#include <vector>

namespace weft::tools {
namespace {

constexpr std::uint64_t default_size = 1 << 20;
constexpr std::uint64_t smallest_of_all = 4 << 10;
constexpr std::uint64_t largest_of_all = 8 << 20;

constexpr std::uint32_t default_depth = 16;

std::vector<std::uint64_t> sizes_of(const bench_arguments& arguments) {
  if (arguments.all_sizes) return powers_of_two(smallest_of_all, largest_of_all);
  return {arguments.size.value_or(default_size)};
}

bench_run row_of(const transfer_plan& plan, transfer_count counted) {
  bench_run run{.name = "bw", .lane = plan.lane, .operation = plan.write ? "write" : "read", .size = plan.size};
  const auto seconds = std::chrono::duration<double>(counted.elapsed).count();
  if (seconds > 0) {
    run.achieved = static_cast<double>(counted.operations) / seconds;
    run.bytes_per_second = static_cast<double>(counted.bytes) / seconds;
  }
  run.latencies = counted.latencies;
  run.errors = counted.errors;
  run.first_error = std::move(counted.first_error);
  return run;
}

/// The loads of one size: one direction, or both at once in separate halves of the region.
class bandwidth_measurement {
public:
  bandwidth_measurement(const bench_arguments& arguments, bench_peer& peer, remote_region remote)
      : arguments_(arguments), peer_(peer), remote_(std::move(remote)),
        depth_(arguments.depth.value_or(default_depth)) {}

  [[nodiscard]] result<void> run(std::uint64_t size, interrupt& signals, bench_report& report) {
    const auto span = size * depth_;
    const std::uint64_t directions = arguments_.bidirectional ? 2 : 1;
    if (size == 0 || span / depth_ != size || span > remote_.size / directions) {
      return error{errc::invalid_argument,
                   fmt::format("--size {} with --streams {}: the server's region has only {}; lower one of them, or "
                               "start the server with a larger --size",
                               to_string(byte_count{size}), depth_, to_string(byte_count{remote_.size}))};
    }
    const auto memory = peer_.on->allocate(byte_count{span * directions});
    if (!memory) return memory.error();
    fill_pattern(memory->bytes(), bench_seed);
    const bool write = arguments_.operation == "write";
    std::vector<transfer_plan> plans = {plan_for(write, size, 0)};
    if (arguments_.bidirectional) plans.push_back(plan_for(!write, size, span));
    std::vector<std::future<transfer_count>> counts;
    for (const auto& plan : plans) {
      counts.push_back(
          std::make_shared<transfer_load>(peer_.to, *memory, remote_, plan, peer_.to.executor(plan.lane))->run());
    }
    for (std::size_t i = 0; i < plans.size(); ++i) {
      auto counted = wait_for(counts[i], signals);
      if (!counted) return error{errc::cancelled, "bw"};
      report.runs.push_back(row_of(plans[i], std::move(*counted)));
    }
    if (!has_pattern(memory->bytes(), bench_seed)) return error{errc::checksum_mismatch, "bw: what was read differs"};
    return {};
  }

private:
  [[nodiscard]] transfer_plan plan_for(bool write, std::uint64_t size, std::uint64_t first_offset) const {
    return {.write = write,
            .lane = arguments_.common.lane.value_or(lane::bulk),
            .size = size,
            .depth = depth_,
            .first_offset = first_offset,
            .iterations = arguments_.iterations,
            .warm_up = warm_up_of(arguments_),
            .duration = arguments_.duration};
  }

  const bench_arguments& arguments_;
  bench_peer& peer_;
  remote_region remote_;
  std::uint32_t depth_;
};

} // namespace

result<void> measure_bandwidths(const bench_arguments& arguments, bench_peer& peer, interrupt& signals,
                                bench_report& report) {
  pending<remote_region> opening;
  peer.to.open(bench_region, opening.handler());
  const auto opened = opening.get(signals);
  if (opened.code) {
    return error{to_errc(opened.code),
                 fmt::format("{}: region \"{}\" (is it `fabric-bench serve`?)", arguments.address, bench_region)};
  }
  bandwidth_measurement measurement{arguments, peer, opened.value};
  for (const auto size : sizes_of(arguments)) {
    if (const auto done = measurement.run(size, signals, report); !done) return done.error();
  }
  return {};
}

result<void> bench_bandwidth(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  auto peer = meet_peer(arguments, signals, report);
  if (!peer) return peer.error();
  if (const auto done = measure_bandwidths(arguments, *peer, signals, report); !done) return done;
  double best = 0;
  for (const auto& run : report.runs) best = std::max(best, run.bytes_per_second);
  report.sum.emplace_back("best_bytes_per_s", best);
  report.sum.emplace_back("slices_resent", static_cast<double>(peer->on->snapshot().slices_resent));
  return arguments.plot.empty() ? result<void>{} : plot_latencies(arguments.plot, report);
}

} // namespace weft::tools
