// Rates in bytes per second, lately and at best. Pure logic, of one thread.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace weft::lanes {

/// The best of late: of the last seconds, and of those before.
class best_rate {
public:
  void add(double rate, time_point now) noexcept {
    if (now - turned_ > remembers) {
      best_[1] = std::exchange(best_[0], 0.0);
      turned_ = now;
    }
    best_[0] = std::max(best_[0], rate);
  }
  [[nodiscard]] double get() const noexcept { return std::max(best_[0], best_[1]); }
  /// Makes less of what it was.
  void fade(double by) noexcept { best_ = {by * best_[0], by * best_[1]}; }

private:
  static constexpr duration remembers = std::chrono::seconds(30);

  std::array<double, 2> best_{};
  time_point turned_{};
};

class rate_meter {
public:
  static constexpr duration interval = std::chrono::milliseconds(10); ///< at least
  static constexpr duration longest_interval = 10 * interval;         ///< while something comes

  /// `bytes` more. True: that ends an interval, which also takes `fewest` calls or ten times as long.
  bool add(std::uint64_t bytes, time_point now, std::uint32_t fewest = 1) noexcept {
    bytes_ += bytes;
    ++calls_;
    const auto passed = now - from_;
    if (passed < interval || (calls_ < fewest && passed < longest_interval)) return false;
    lately_ = static_cast<double>(bytes_) / std::chrono::duration<double>(passed).count();
    bytes_ = 0;
    calls_ = 0;
    from_ = now;
    return true;
  }

  /// In the last interval.
  [[nodiscard]] double lately() const noexcept { return lately_; }

private:
  std::uint64_t bytes_ = 0;
  std::uint32_t calls_ = 0;
  time_point from_{};
  double lately_ = 0;
};

} // namespace weft::lanes
