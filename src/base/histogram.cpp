// What is asked of a histogram after the measurement; recording is inline in the header.
#include "base/histogram.hpp"

#include <cmath>

namespace weft {

using std::chrono::nanoseconds;

std::uint64_t histogram::middle_of(std::size_t bucket) noexcept {
  if (bucket < 2 * buckets_per_octave) return bucket;
  const auto octave = bucket / buckets_per_octave - 1;
  const auto low = (bucket % buckets_per_octave + buckets_per_octave) << octave;
  return low + ((std::uint64_t{1} << octave) >> 1);
}

void histogram::merge(const histogram& other) noexcept {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    counts_[i] += other.counts_[i];
  }
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
}

nanoseconds histogram::min() const noexcept {
  return nanoseconds{count_ == 0 ? 0 : static_cast<std::int64_t>(min_)};
}

nanoseconds histogram::max() const noexcept {
  return nanoseconds{static_cast<std::int64_t>(max_)};
}

nanoseconds histogram::mean() const noexcept {
  if (count_ == 0) return nanoseconds{0};
  return nanoseconds{std::llround(sum_ / static_cast<double>(count_))};
}

nanoseconds histogram::quantile(double share) const noexcept {
  if (count_ == 0 || share <= 0) return min();
  if (share >= 1) return max();
  const auto rank = std::max(std::ceil(share * static_cast<double>(count_)), 1.0);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (static_cast<double>(seen) >= rank) {
      return nanoseconds{static_cast<std::int64_t>(std::clamp(middle_of(i), min_, max_))};
    }
  }
  return max();
}

} // namespace weft
