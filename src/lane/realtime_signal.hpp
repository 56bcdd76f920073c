// What the realtime thread tells those that carry bulk: that it has traffic, and how that fares. It writes, they read.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

namespace weft::lanes {

class realtime_signal {
public:
  /// How long the messages of late took to arrive.
  struct latency {
    std::uint64_t count = 0; ///< how often it was told
    time_point at{};         ///< when, last
    duration typical{};      ///< the median of the last samples
  };

  // On the realtime thread.
  void seen(time_point now) noexcept { put(seen_, now.time_since_epoch()); }
  /// One message took so long.
  void sample(duration lag, time_point now) noexcept {
    samples_[collected_++] = lag;
    if (collected_ < samples_.size()) return;
    collected_ = 0;
    std::sort(samples_.begin(), samples_.end());
    put(typical_, samples_[samples_.size() / 2 - 1]); // the lower one: what delays a single one is no queue
    put(told_, now.time_since_epoch());
    count_.store(count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  /// How far samples are to be apart: they cost a frame each.
  [[nodiscard]] duration sample_every(time_point now) const noexcept {
    return now.time_since_epoch() - get(bulk_) < std::chrono::milliseconds(100) ? std::chrono::microseconds(250)
                                                                                : std::chrono::milliseconds(5);
  }

  // On any other.
  [[nodiscard]] time_point last_seen() const noexcept { return time_point(get(seen_)); }
  [[nodiscard]] latency now_is() const noexcept {
    const auto count = count_.load(std::memory_order_acquire);
    return {count, time_point(get(told_)), get(typical_)};
  }
  /// Bulk data was sent.
  void bulk_sent(time_point now) noexcept { put(bulk_, now.time_since_epoch()); }

private:
  using cell = std::atomic<duration::rep>;

  static void put(cell& to, duration value) noexcept { to.store(value.count(), std::memory_order_relaxed); }
  static duration get(const cell& from) noexcept { return duration(from.load(std::memory_order_relaxed)); }

  cell seen_ = 0;
  cell bulk_ = 0;
  cell typical_ = 0;
  cell told_ = 0;
  std::atomic<std::uint64_t> count_ = 0;

  // The realtime thread's.
  std::array<duration, 4> samples_{};
  std::size_t collected_ = 0;
};

} // namespace weft::lanes
