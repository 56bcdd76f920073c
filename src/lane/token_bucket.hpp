// How much may go at a rate, with some saved up: the generic cell rate algorithm (ITU-T I.371), whose whole state is
// the time at which the bucket would be full again. Any thread; wait-free but for losing a race.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace weft::lanes {

class token_bucket {
public:
  /// What is saved up at most, in time at the rate.
  static constexpr duration burst = std::chrono::milliseconds(10);

  /// Takes `bytes` if there are any left at `rate` bytes per second, though fewer: what is overdrawn is waited for.
  /// `rate` may be another one each time; 0: everything may go.
  [[nodiscard]] bool take(std::uint64_t bytes, std::uint64_t rate, time_point now) noexcept {
    if (rate == 0) return true;
    const auto seconds = std::min(static_cast<double>(bytes) / static_cast<double>(rate), longest_debt);
    const auto cost = static_cast<duration::rep>(1e9 * seconds);
    const auto at = now.time_since_epoch().count();
    auto full = full_at_.load(std::memory_order_relaxed);
    while (true) {
      const auto from = std::max(full, at);
      if (from - at >= duration(burst).count()) return false;
      if (full_at_.compare_exchange_weak(full, from + cost, std::memory_order_relaxed)) return true;
    }
  }

  /// Another rate is in force: what was overdrawn at the last one is no debt.
  void forgive() noexcept { full_at_.store(0, std::memory_order_relaxed); }

private:
  static constexpr double longest_debt = 60; ///< seconds

  std::atomic<duration::rep> full_at_ = 0;
};

} // namespace weft::lanes
