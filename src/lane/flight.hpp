// What one channel has under way: bytes released to it that are not known to have landed. Some of its parts are marked,
// and their landing is told; what was released before them has landed with them. Pure logic, used on the thread of its
// channel.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

namespace weft::lanes {

class flight {
public:
  /// What a landing told.
  struct news {
    std::uint64_t bytes = 0; ///< no longer under way
    duration lag{};          ///< from the release of the last of them to now
    duration least_lag{};    ///< of the channel, lately
  };

  /// Whether one more mark can be kept.
  [[nodiscard]] bool takes_mark() const noexcept { return count_ < most_marks; }
  /// Bytes released since the last mark.
  [[nodiscard]] std::uint64_t unmarked() const noexcept { return unmarked_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  /// Marks that were ever made.
  [[nodiscard]] std::uint64_t marks() const noexcept { return landed_ + count_; }
  /// It has been silent for too long: nothing more is released to it until all that it has has landed.
  [[nodiscard]] bool parked() const noexcept { return parked_; }
  /// When the oldest of its bytes was released; max() if it has none, or they count no more.
  [[nodiscard]] time_point since() const noexcept { return parked_ || bytes_ == 0 ? time_point::max() : since_; }

  void released(std::uint64_t bytes, bool marked, time_point now) noexcept {
    if (bytes_ == 0) since_ = now;
    bytes_ += bytes;
    unmarked_ += bytes;
    if (!marked) return;
    auto& last = marks_[(first_ + count_++) % most_marks];
    last = {now, std::exchange(unmarked_, 0)};
  }

  /// The first `marks` marks have landed; at most marks().
  news landed(std::uint64_t marks, time_point now) noexcept {
    news told;
    if (marks <= landed_) return told;
    while (landed_ < marks) {
      const auto& each = marks_[first_];
      told.bytes += each.bytes;
      told.lag = now - each.at;
      since_ = each.at; // of what remains, the oldest is no older
      first_ = (first_ + 1) % most_marks;
      ++landed_;
      --count_;
    }
    bytes_ -= told.bytes;
    note(told.lag, now);
    told.least_lag = std::min(least_[0], least_[1]);
    if (count_ == 0) parked_ = false;
    return told;
  }

  /// Its bytes count no more; returns how many they were. Only what is marked can be waited for.
  std::uint64_t write_off() noexcept {
    parked_ = count_ > 0;
    const auto all = std::exchange(bytes_, 0);
    unmarked_ = 0;
    for (std::size_t i = 0; i < count_; ++i) marks_[(first_ + i) % most_marks].bytes = 0;
    return all;
  }

private:
  struct mark {
    time_point at;
    std::uint64_t bytes = 0; ///< with those before it since the last mark
  };
  static constexpr std::size_t most_marks = 32;
  static constexpr duration remembers = std::chrono::seconds(5);

  /// The least of the last five to ten seconds.
  void note(duration lag, time_point now) noexcept {
    if (now - turned_ > remembers) {
      least_[1] = now - turned_ > 2 * remembers ? duration::max() : least_[0];
      least_[0] = duration::max();
      turned_ = now;
    }
    least_[0] = std::min(least_[0], lag);
  }

  std::array<mark, most_marks> marks_{}; ///< a ring
  std::size_t first_ = 0;
  std::size_t count_ = 0;
  std::uint64_t landed_ = 0; ///< marks, ever
  std::uint64_t bytes_ = 0;
  std::uint64_t unmarked_ = 0;
  time_point since_{};
  bool parked_ = false;
  std::array<duration, 2> least_{duration::max(), duration::max()};
  time_point turned_{};
};

} // namespace weft::lanes
