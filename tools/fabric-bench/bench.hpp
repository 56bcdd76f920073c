// The subcommands of `fabric-bench`, and what they share: a fabric, links to the servers, and the waiting. All run on
// the main thread.
#pragma once

#include "common/exit_code.hpp"
#include "common/pending.hpp"
#include "fabric-bench/arguments.hpp"
#include "fabric-bench/bench_server.hpp"
#include "fabric-bench/report.hpp"
#include "fabric-bench/request_load.hpp"

#include <weft/fabric.hpp>

#include <memory>
#include <optional>
#include <string>

namespace weft::tools {

/// This process's end of a benchmark of one peer.
struct bench_peer {
  std::optional<bench_server> server; ///< where the peer is in this process
  std::unique_ptr<fabric> on;
  link to;
};

/// Links to the address given, or starts a server on loopback and says so in the report's notes.
[[nodiscard]] result<bench_peer> meet_peer(const bench_arguments& arguments, interrupt& signals, bench_report& report);

[[nodiscard]] result<link> connect(fabric& on, const std::string& address, const common_settings& settings,
                                   interrupt& signals);

/// A tenth of the duration, at most half a second: what is not measured at the start.
[[nodiscard]] std::chrono::nanoseconds warm_up_of(const bench_arguments& arguments);

/// The row for what a load of requests counted.
[[nodiscard]] bench_run row_of(std::string name, const request_plan& plan, request_count counted);

/// first, 2 * first, ... last.
[[nodiscard]] std::vector<std::uint64_t> powers_of_two(std::uint64_t first, std::uint64_t last);

/// What `bw` and `lat` measure, with a peer that is met.
[[nodiscard]] result<void> measure_bandwidths(const bench_arguments& arguments, bench_peer& peer, interrupt& signals,
                                              bench_report& report);
[[nodiscard]] result<void> measure_latencies(const bench_arguments& arguments, bench_peer& peer, interrupt& signals,
                                             bench_report& report);

[[nodiscard]] result<void> bench_serve(const bench_arguments& arguments, interrupt& signals);
[[nodiscard]] result<void> bench_bandwidth(const bench_arguments& arguments, interrupt& signals, bench_report& report);
[[nodiscard]] result<void> bench_latency(const bench_arguments& arguments, interrupt& signals, bench_report& report);
[[nodiscard]] result<void> bench_rate(const bench_arguments& arguments, interrupt& signals, bench_report& report);
[[nodiscard]] result<void> bench_mixed(const bench_arguments& arguments, interrupt& signals, bench_report& report);
[[nodiscard]] result<void> bench_sweep(const bench_arguments& arguments, interrupt& signals, bench_report& report);
/// Prints what changed between two documents. The result tells which conditions of --fail-if hold.
[[nodiscard]] result<std::vector<std::string>> bench_compare(const bench_arguments& arguments);
[[nodiscard]] result<void> bench_shards(const bench_arguments& arguments, interrupt& signals, bench_report& report);

/// What the future holds, or nothing if a signal asked to stop.
template <class Value>
[[nodiscard]] std::optional<Value> wait_for(std::future<Value>& value, interrupt& signals) {
  while (value.wait_for(std::chrono::milliseconds{50}) != std::future_status::ready) {
    if (signals.requested()) return std::nullopt;
  }
  return value.get();
}

} // namespace weft::tools
