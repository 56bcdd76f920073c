// `fabric-bench mixed`: lanes beside each other. One fabric with its lanes and one without carry the same loads in
// phases that take turns, so that every ratio comes from one run. Used on the main thread.
#pragma once

#include "fabric-bench/bench.hpp"
#include "fabric-bench/lane_plan.hpp"

#include <array>
#include <vector>

namespace weft::tools {

enum class mixed_phase : std::uint8_t {
  idle,       ///< the paced loads alone
  alone,      ///< the others alone, lanes off
  mixed,      ///< all, lanes on
  naive_idle, ///< the paced loads alone, slowly, lanes off
  naive,      ///< and beside the others
  naive_full, ///< at their own rate
};
inline constexpr std::size_t mixed_phase_count = 6;

/// Requests per second of the arm without lanes: at a higher rate they would queue behind each other too.
inline constexpr double naive_rate = 100;

inline constexpr double never_settled = 1e9;

/// What one load did in one phase.
struct mixed_cell {
  histogram latencies;
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0; ///< as the receiver counted them
  double seconds = 0;
  double longest_gap = 0; ///< seconds without a byte
  double settled = -1;    ///< seconds from a change to the new rate; -1: there was none; never_settled: it did not come
  std::uint64_t errors = 0;
  std::string first_error;

  void add(const mixed_cell& more);
  [[nodiscard]] double rate() const noexcept { return seconds > 0 ? static_cast<double>(operations) / seconds : 0; }
  [[nodiscard]] double bytes_rate() const noexcept { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
};

/// Settings that are changed while the mixed phase runs, as `--at 5s:bulk.limit=2Gb/s` says it.
struct mixed_change {
  std::chrono::nanoseconds after{0};
  std::vector<std::pair<std::string, std::string>> settings;
};

/// Errors: invalid_argument.
[[nodiscard]] result<mixed_change> parse_change(std::string_view text);

/// How soon after a change the bytes of a load came at the rate that it had in the end: when the first 50 ms began
/// whose average is within 5% of that. `counted`: when how many bytes had come. None: there is no such time.
[[nodiscard]] std::optional<std::chrono::nanoseconds>
settled_after(const std::vector<std::pair<std::chrono::nanoseconds, std::uint64_t>>& counted,
              std::chrono::nanoseconds change);

/// By phase, then by plan.
using mixed_cells = std::array<std::vector<mixed_cell>, mixed_phase_count>;

/// Turns what the repeats measured into rows, ratios and a verdict.
void judge_mixed(const bench_arguments& arguments, const std::vector<lane_plan>& plans,
                 const std::vector<std::uint32_t>& weights, const std::vector<mixed_cells>& repeats,
                 bench_report& report);

} // namespace weft::tools
