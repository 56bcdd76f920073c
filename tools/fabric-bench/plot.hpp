// Reports as pictures: SVG files that any browser shows. Used on the main thread.
#pragma once

#include "fabric-bench/report.hpp"

#include <weft/error.hpp>

#include <string>

namespace weft::tools {

/// One curve a run: the latency, on a logarithmic scale, that each share of its operations did not exceed, up to the
/// share of which ten samples are beyond. No picture where no run has latencies. Errors: io_error.
[[nodiscard]] result<void> plot_latencies(const std::string& file, const bench_report& report);

/// Over the size of an operation: the bandwidth of writes and reads, and the median and p99 of requests. Errors: as
/// plot_latencies.
[[nodiscard]] result<void> plot_sizes(const std::string& file, const bench_report& report);

} // namespace weft::tools
