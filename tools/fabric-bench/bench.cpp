// What the subcommands share.
#include "fabric-bench/bench.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weft::tools {

result<link> connect(fabric& on, const std::string& address, const common_settings& settings, interrupt& signals) {
  pending<link> connecting;
  on.connect(address, {.deadline = settings.deadline}, connecting.handler());
  const auto connected = connecting.get(signals);
  if (connected.code) return error{to_errc(connected.code), address};
  return connected.value;
}

result<bench_peer> meet_peer(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  bench_peer peer;
  auto address = arguments.address;
  if (address.empty()) {
    auto server = bench_server::start(arguments.common.configuration, "127.0.0.1:0", default_bench_region);
    if (!server) return server.error();
    peer.server.emplace(std::move(*server));
    address = peer.server->address();
    report.notes.push_back(fmt::format("no address given: the server is in this process, at {}", address));
  }
  auto on = fabric::open(arguments.common.configuration);
  if (!on) return on.error();
  peer.on = std::make_unique<fabric>(std::move(*on));
  auto to = connect(*peer.on, address, arguments.common, signals);
  if (!to) return to.error();
  peer.to = *to;
  return peer;
}

std::vector<std::uint64_t> powers_of_two(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> all;
  for (auto value = first; value <= last; value *= 2) all.push_back(value);
  return all;
}

std::chrono::nanoseconds warm_up_of(const bench_arguments& arguments) {
  if (arguments.iterations > 0) return std::chrono::nanoseconds{0};
  return std::min<std::chrono::nanoseconds>(arguments.duration / 10, std::chrono::milliseconds{500});
}

bench_run row_of(std::string name, const request_plan& plan, request_count counted) {
  bench_run run{.name = std::move(name), .lane = plan.lane, .operation = "request", .size = plan.size};
  const auto seconds = std::chrono::duration<double>(counted.elapsed).count();
  if (seconds > 0) {
    run.achieved = static_cast<double>(counted.in_time) / seconds;
    run.bytes_per_second = run.achieved * static_cast<double>(plan.size);
  }
  if (plan.rate > 0) run.offered = plan.rate;
  run.from_intended_time = plan.rate > 0;
  run.latencies = counted.latencies;
  run.errors = counted.errors;
  run.first_error = std::move(counted.first_error);
  return run;
}

} // namespace weft::tools
