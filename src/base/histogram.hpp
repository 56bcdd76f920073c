// Latencies in constant memory: a log-linear histogram from 1 ns to over an hour, right to within 1%.
// One thread owns each; those of several threads are merged afterwards. About 19 KiB each, no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weft {

class histogram {
public:
  /// Counts one value. Below zero counts as zero; from 2^42 ns (73 minutes) on, only min, max and mean stay exact.
  void record(std::chrono::nanoseconds value) noexcept {
    const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(value.count(), 0));
    ++counts_[bucket_of(ns)];
    ++count_;
    sum_ += static_cast<double>(ns);
    min_ = std::min(min_, ns);
    max_ = std::max(max_, ns);
  }

  /// Adds what `other` counted.
  void merge(const histogram& other) noexcept;
  void clear() noexcept { *this = histogram{}; }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  /// Exact. This and what follows are zero for an empty histogram.
  [[nodiscard]] std::chrono::nanoseconds min() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds max() const noexcept;
  [[nodiscard]] std::chrono::nanoseconds mean() const noexcept;
  /// The value that the given share of all values does not exceed, 0.5 being the median; within 1%, and 0 and 1 give
  /// exactly min() and max().
  [[nodiscard]] std::chrono::nanoseconds quantile(double share) const noexcept;

private:
  // 64 buckets for each power of two: a bucket is at most 1/64 of its lower end wide, so its middle is off by 0.8%.
  static constexpr unsigned bucket_bits = 6;
  static constexpr std::uint64_t buckets_per_octave = std::uint64_t{1} << bucket_bits;
  static constexpr unsigned value_bits = 42;
  static constexpr std::size_t bucket_count = (value_bits - bucket_bits + 1) * buckets_per_octave;
  static constexpr std::uint64_t largest = (std::uint64_t{1} << value_bits) - 1;

  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    value = std::min(value, largest);
    if (value < buckets_per_octave) return static_cast<std::size_t>(value);
    const auto octave = static_cast<unsigned>(std::bit_width(value)) - 1 - bucket_bits;
    return static_cast<std::size_t>(octave * buckets_per_octave + (value >> octave));
  }
  [[nodiscard]] static std::uint64_t middle_of(std::size_t bucket) noexcept;

  std::array<std::uint64_t, bucket_count> counts_{};
  std::uint64_t count_ = 0;
  double sum_ = 0;
  std::uint64_t min_ = UINT64_MAX;
  std::uint64_t max_ = 0;
};

} // namespace weft
