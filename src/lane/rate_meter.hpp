// The rate of something in bytes, lately and at best. Pure logic, of one thread.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace weft::lanes {

class rate_meter {
public:
  /// Rates are measured over so long at least, and the best is remembered once or twice as long as this.
  static constexpr duration interval = std::chrono::milliseconds(10);
  static constexpr duration remembers = std::chrono::seconds(30);

  /// `bytes` more. True: that ends an interval, which also takes `fewest` calls or ten times as long.
  bool add(std::uint64_t bytes, time_point now, std::uint32_t fewest = 1) noexcept {
    bytes_ += bytes;
    ++calls_;
    const auto passed = now - from_;
    if (passed < interval || (calls_ < fewest && passed < 10 * interval)) return false;
    if (now - turned_ > remembers) {
      best_[1] = std::exchange(best_[0], 0.0);
      turned_ = now;
    }
    lately_ = static_cast<double>(bytes_) / std::chrono::duration<double>(passed).count();
    best_[0] = std::max(best_[0], lately_);
    bytes_ = 0;
    calls_ = 0;
    from_ = now;
    return true;
  }

  /// Bytes per second, in the last interval.
  [[nodiscard]] double lately() const noexcept { return lately_; }
  /// Of the last seconds, and of those before.
  [[nodiscard]] double best() const noexcept { return std::max(best_[0], best_[1]); }
  /// Makes less of what it was.
  void fade(double by) noexcept { best_ = {by * best_[0], by * best_[1]}; }

private:
  std::uint64_t bytes_ = 0;
  std::uint32_t calls_ = 0;
  time_point from_{};
  double lately_ = 0;
  std::array<double, 2> best_{};
  time_point turned_{};
};

} // namespace weft::lanes
