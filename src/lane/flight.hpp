// What one channel has under way: bytes released to it that are not known to have landed. Some of its parts are marked,
// and their landing is told; what was released before them has landed with them, and counts from the mark on: so
// whatever counts is told of, and a little that nobody asks about holds nothing up. Pure logic, used on the thread of
// its channel.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace weft::lanes {

/// Where channels lead to, one rail of one peer: lanes and channels share the way there, by what they are given of it.
class destination {
public:
  /// Of the lags of late, with this one.
  [[nodiscard]] duration least_of_late(duration lag, time_point now) noexcept {
    if (lag < least_ || now - since_ > remembers) {
      least_ = lag;
      since_ = now;
    }
    return least_;
  }

  /// It may have no more than `bytes` under way; 0: as many as are sent. That holds for a while, if it is not said
  /// again.
  void allow(std::uint64_t bytes, time_point now) noexcept {
    allowed_ = bytes;
    allowed_at_ = now;
  }
  /// It has been limited, and may have held something back.
  [[nodiscard]] bool was_limited() const noexcept { return allowed_ != 0; }
  [[nodiscard]] bool limits(time_point now) const noexcept {
    return allowed_ != 0 && now - allowed_at_ < allowance_lasts;
  }
  /// What may be sent there now.
  [[nodiscard]] std::uint64_t room(time_point now) const noexcept {
    if (!limits(now)) return unlimited;
    return allowed_ > bytes_ ? allowed_ - bytes_ : 0;
  }

  static constexpr std::uint64_t unlimited = ~std::uint64_t{0};

private:
  friend class flight;
  static constexpr duration remembers = std::chrono::milliseconds(10);
  static constexpr duration allowance_lasts = std::chrono::seconds(1);

  std::uint64_t bytes_ = 0; ///< of all flights to there
  std::uint64_t allowed_ = 0;
  time_point allowed_at_{};
  duration least_ = duration::max();
  time_point since_{};
};

class flight {
public:
  /// What a landing told.
  struct news {
    std::uint64_t marks = 0; ///< 0: nothing new
    std::uint64_t bytes = 0; ///< no longer under way
    duration lag{};          ///< from the release of the last of the marks to now
  };

  explicit flight(destination& to) noexcept : to_(&to) {}

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Bytes released since the last mark, which bytes() does not count.
  [[nodiscard]] std::uint64_t unmarked() const noexcept { return unmarked_; }
  /// Whether one more can be kept.
  [[nodiscard]] bool takes_mark() const noexcept { return count_ < most_marks; }
  /// Marks that were ever made.
  [[nodiscard]] std::uint64_t marks() const noexcept { return landed_ + count_; }
  /// It goes to a slower place than the others: what it has under way stands in nobody's way but its own there.
  [[nodiscard]] bool far() const noexcept { return far_; }
  [[nodiscard]] destination& to() const noexcept { return *to_; }
  void put_far(bool far) noexcept { far_ = far; }
  /// It leads to there, as is known by now.
  void lead_to(destination& to) noexcept {
    to_->bytes_ -= bytes_;
    to_ = &to;
    to_->bytes_ += bytes_;
  }
  /// It was too slow: nothing more is released to it until all its marks have landed.
  [[nodiscard]] bool parked() const noexcept { return parked_; }
  /// When the oldest mark will have taken too long: some times the least lag of late, within bounds. max(): nothing is
  /// awaited of it.
  [[nodiscard]] time_point too_slow_at(duration least, duration most) const noexcept {
    if (parked_ || count_ == 0) return time_point::max();
    return marks_[first_].at + std::clamp(4 * least_lag_, least, most);
  }

  /// Returns how many bytes count now that did not before.
  std::uint64_t released(std::uint64_t bytes, bool marked, time_point now) noexcept {
    unmarked_ += bytes;
    if (!marked) return 0;
    const auto counted = std::exchange(unmarked_, 0);
    marks_[(first_ + count_++) % most_marks] = {now, counted};
    bytes_ += counted;
    to_->bytes_ += counted;
    return counted;
  }

  /// The first `marks` marks have landed; at most marks().
  news landed(std::uint64_t marks, time_point now) noexcept {
    news told;
    while (landed_ < marks) {
      const auto& each = marks_[first_];
      ++told.marks;
      told.bytes += each.bytes;
      told.lag = now - each.at;
      first_ = (first_ + 1) % most_marks;
      ++landed_;
      --count_;
    }
    if (told.marks == 0) return told;
    if (now - least_since_ > remembers || told.lag < least_lag_) {
      least_lag_ = told.lag;
      least_since_ = now;
    }
    if (count_ == 0) parked_ = false;
    bytes_ -= told.bytes;
    to_->bytes_ -= told.bytes;
    return told;
  }

  /// Its bytes count no more; returns how many they were.
  std::uint64_t write_off() noexcept {
    parked_ = count_ > 0;
    unmarked_ = 0;
    for (std::size_t i = 0; i < count_; ++i) marks_[(first_ + i) % most_marks].bytes = 0;
    to_->bytes_ -= bytes_;
    return std::exchange(bytes_, 0);
  }

private:
  struct mark {
    time_point at;
    std::uint64_t bytes = 0; ///< with those before it since the last mark
  };
  static constexpr std::size_t most_marks = 32;
  static constexpr duration remembers = std::chrono::seconds(10);

  destination* to_;
  std::array<mark, most_marks> marks_{}; ///< a ring
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::uint64_t landed_ = 0; ///< marks, ever
  std::uint64_t bytes_ = 0;
  std::uint64_t unmarked_ = 0;
  duration least_lag_{};
  time_point least_since_{};
  bool parked_ = false;
  bool far_ = false;
};

} // namespace weft::lanes
