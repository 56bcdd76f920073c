// How long something took, how often: what fills a lag_metrics. One thread counts, any thread may read.
#pragma once

#include "base/clock.hpp"
#include "base/counter.hpp"

#include "weft/metrics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace weft {

class lag_counters {
public:
  void record(duration lag) noexcept {
    const auto whole = std::chrono::duration_cast<std::chrono::microseconds>(std::max(lag, duration::zero())).count();
    const auto index = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(whole)));
    ++counts_[std::min(index, counts_.size() - 1)];
  }
  void add_to(lag_metrics& sum) const noexcept {
    for (std::size_t i = 0; i < counts_.size(); ++i) sum.counts[i] += counts_[i];
  }

private:
  std::array<counter, std::tuple_size_v<decltype(lag_metrics::counts)>> counts_;
};

} // namespace weft
