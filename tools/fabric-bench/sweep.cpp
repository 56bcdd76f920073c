// `fabric-bench sweep`: writes, reads and requests of every size, for the whole picture of a path.
#include "fabric-bench/bench.hpp"
#include "fabric-bench/plot.hpp"

namespace weft::tools {

result<void> bench_sweep(const bench_arguments& asked, interrupt& signals, bench_report& report) {
  auto arguments = asked;
  arguments.all_sizes = true;
  arguments.closed_loop = true;
  auto peer = meet_peer(arguments, signals, report);
  if (!peer) return peer.error();
  for (const auto* operation : {"write", "read"}) {
    arguments.operation = operation;
    if (const auto done = measure_bandwidths(arguments, *peer, signals, report); !done) return done;
  }
  if (const auto done = measure_latencies(arguments, *peer, signals, report); !done) return done;
  return arguments.plot.empty() ? result<void>{} : plot_sizes(arguments.plot, report);
}

} // namespace weft::tools
