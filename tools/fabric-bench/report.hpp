// What a benchmark measured, as a table for people and as one JSON document for scripts. Used on the main thread.
#pragma once

#include "base/histogram.hpp"
#include "common/exit_code.hpp"

#include <weft/lane.hpp>

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::tools {

/// One row. Rates are per second.
struct bench_run {
  std::string name;
  weft::lane lane = weft::lane::bulk;
  std::string operation; ///< "write", "read", "request", "fetch", "put"
  std::uint64_t size = 0;
  std::optional<double> offered = std::nullopt; ///< operations asked for; none: as many as go
  double achieved = 0;                          ///< operations completed
  double bytes_per_second = 0;
  histogram latencies = {};
  std::uint64_t errors = 0;
  std::string first_error = {};
  bool from_intended_time = false; ///< what latencies count from: the intended send time, else the actual one

  /// Whether less was done than was offered, so that the latencies say little.
  [[nodiscard]] bool overloaded() const noexcept { return offered && achieved < 0.99 * *offered; }
};

struct bench_report {
  std::vector<std::string> argv;
  std::vector<bench_run> runs;
  std::vector<std::string> notes;                  ///< lines under the table
  std::vector<std::pair<std::string, double>> sum; ///< further entries of the summary
  std::optional<exit_code> judged;                 ///< ok, failed or inconclusive, where more decides than the rows

  [[nodiscard]] std::uint64_t errors() const noexcept;
  [[nodiscard]] bool overloaded() const noexcept;
  /// ok, failed or inconclusive.
  [[nodiscard]] exit_code ending() const noexcept;
  /// Its name.
  [[nodiscard]] const char* verdict() const noexcept;
};

/// `gbits`: rates in Gb/s only, as perftest's --report_gbits.
[[nodiscard]] std::string table(const bench_report& report, bool gbits);

/// {schema, tool, version, argv, context, runs, summary}. Numbers that are not finite are null, and so is p99.9 of
/// fewer than 10,000 samples.
[[nodiscard]] std::string json_document(const bench_report& report);

} // namespace weft::tools
