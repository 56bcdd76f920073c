// How many bytes one sender may have under way on a rail, over all channels: what is ahead of an urgent message there.
// It learns. What the lags of a round exceed that of an empty way by is a queue, and the budget is set so that this one
// stays short (by the rule of FAST TCP: Wei, Jin, Low, Hegde, "FAST TCP: motivation, architecture, algorithms,
// performance", 2006). While realtime traffic is about, its latency decides, which a network that puts it first keeps
// low whatever bulk has under way. What both would be on an empty way is not guessed but tried: for some milliseconds,
// every few seconds, next to nothing is under way. What others on the host carry, and how their realtime traffic fares,
// their board tells: it counts as if it were of this process, the rail is shared with those that carry bulk, and all
// keep the way empty at the same moments. Pure logic: no I/O, no clock. One thread owns it.
#pragma once

#include "lane/flight.hpp"
#include "lane/host_board.hpp"
#include "lane/rate_meter.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace weft::lanes {

/// How it stands; a reader on another thread has it copied there.
struct budget_state {
  std::uint64_t limit = 0; ///< bytes that may be under way
  std::uint64_t bytes = 0; ///< that are
  bool crowded = false;    ///< realtime traffic is about
};

class budget {
public:
  /// What is released at once is a multiple of this, but for the end of a slice.
  static constexpr std::uint64_t grain = 4 * 1024;
  static constexpr std::uint64_t most_quantum = 1024 * 1024;
  static constexpr std::uint64_t most = 16 * 1024 * 1024;
  static constexpr std::uint64_t none = std::uint64_t{1} << 60; ///< as `fixed`: nothing is held back, or counted
  /// Where it begins, and what it does not go below while nobody waits: what a slow processor does not get done in time
  /// must not end as an idle wire.
  static constexpr std::uint64_t least_quiet = 2 * 1024 * 1024;
  /// The same while realtime traffic is about.
  static constexpr std::uint64_t first_crowded = 16 * grain;
  static constexpr std::uint64_t least_crowded = 2 * grain;
  /// A channel whose bytes take so long, or four times as long as they need, holds nobody up any more; at most so long.
  static constexpr duration patience = std::chrono::milliseconds(50);
  static constexpr duration longest_patience = std::chrono::milliseconds(500);

  /// `fixed`: it does not learn, but stays at so many bytes; 0: it learns.
  /// `board`: of the host.
  budget(host_board& board, std::uint64_t fixed) noexcept
      : fixed_(fixed), board_(board), limit_(fixed > 0 ? fixed : least_quiet) {}

  /// Bytes per second that it lets go whatever they do to realtime traffic: what is promised to lanes.
  void keep(std::uint64_t rate) noexcept { kept_ = rate; }
  /// A channel whose bytes count from now on; it must be removed before its end.
  void add(flight& of) { flights_.push_back(&of); }
  void remove(flight& of) noexcept;

  /// Whether realtime traffic that was seen at `last` is still about.
  [[nodiscard]] static bool crowded(time_point last, time_point now) noexcept;
  /// The time of what follows; looks at the board now and then.
  void advance(time_point now) noexcept;
  /// Whether a quantum may be released now.
  [[nodiscard]] bool open() const noexcept { return bytes_ == 0 || bytes_ + quantum() <= limit_; }
  /// What may be released now.
  [[nodiscard]] std::uint64_t room() const noexcept { return limit_ > bytes_ ? limit_ - bytes_ : 0; }
  [[nodiscard]] std::uint64_t quantum() const noexcept;
  /// Whether a part of so many bytes, released to `to`, is to be marked. To be told of a landing costs the peer a frame
  /// and both ends system calls, so while nobody waits it is asked about a quarter of the budget at a time, or the
  /// largest quantum; what is not counted yet, less than that for each channel, comes on top of the limit: more would,
  /// of many channels at once, be far more than it, and what a probe then takes for an empty way is none. Beside
  /// realtime traffic all is counted, here or there.
  [[nodiscard]] bool marks(const flight& to, std::uint64_t part) const noexcept {
    return fixed_ != none && to.takes_mark() &&
           (crowded_ || (fixed_ == 0 && to.to().limits(now_)) ||
            to.unmarked() + part >= std::min(limit_ / 4, most_quantum));
  }

  void released(flight& to, std::uint64_t bytes, bool marked, time_point now) noexcept;
  void landed(flight& from, std::uint64_t marks, time_point now) noexcept;
  /// What it has under way counts no more.
  void write_off(flight& of) noexcept {
    const auto bytes = of.write_off();
    if (!of.far()) bytes_ -= bytes;
  }
  /// Whether something may be released to it, as far as it alone is concerned.
  [[nodiscard]] bool may_take(const flight& to) const noexcept {
    return !to.parked() && (!to.far() || to.bytes() < limit_) && room_for(to) > 0;
  }
  /// What may be released to it at once: a fixed budget is heeded, and no receiver's word.
  [[nodiscard]] std::uint64_t room_for(const flight& to) const noexcept {
    return fixed_ > 0 ? destination::unlimited : to.to().room(now_);
  }

  /// When expire() must be called, as long as the budget holds something back.
  [[nodiscard]] time_point next_due() const noexcept { return expired_at_ + patience / 2; }
  /// Writes off what was released to channels that are too slow.
  void expire(time_point now) noexcept;

  [[nodiscard]] budget_state state() const noexcept { return {limit_, bytes_, crowded_}; }

private:
  void end_round() noexcept;
  [[nodiscard]] double while_quiet() const noexcept;
  /// What the limit is to be multiplied by.
  struct change {
    double factor = 1.0;
    bool much_too_slow = false; ///< whoever waits waits for twice what he should
  };
  [[nodiscard]] change by_own_lag() const noexcept;
  [[nodiscard]] change by_realtime() noexcept;
  [[nodiscard]] double sparing_the_rate(const change& wanted) noexcept;
  void look_at_board() noexcept;
  void judge(flight& of, duration lag) noexcept;
  [[nodiscard]] std::uint64_t least() const noexcept;
  [[nodiscard]] std::uint64_t least_of_way() const noexcept;
  /// Of the best rate of late, what it is to have beside others.
  [[nodiscard]] double fair_rate() const noexcept { return share_ * best_.get(); }
  [[nodiscard]] std::uint64_t part_of(std::uint64_t bytes) const noexcept;
  void set_limit(std::uint64_t wanted) noexcept;
  [[nodiscard]] bool probe_is_due() const noexcept;
  void probe() noexcept;
  void probed(duration lag) noexcept;
  void stop_probe() noexcept;
  void announce() noexcept;
  void take_back() noexcept;
  void end_probe() noexcept;

  /// How the realtime traffic of one entry of the board fares.
  struct heard {
    host_board::latency told; ///< last
    duration smooth{};        ///< of that, over some times
    duration empty{};         ///< on an empty way; zero: not known
    std::uint32_t probed = 0; ///< how often it was told in the probe
    bool unheeded = false;    ///< the limit does not follow it yet

    void hear(const host_board::latency& news) noexcept;
    void probe(duration typical) noexcept;
    [[nodiscard]] bool lately(time_point now) const noexcept;
    /// The limit can follow it.
    [[nodiscard]] bool guides(time_point now) const noexcept;
  };

  const std::uint64_t fixed_;
  std::uint64_t kept_ = 0;
  host_board& board_;
  std::uint64_t limit_;
  std::uint64_t bytes_ = 0;
  std::vector<flight*> flights_;
  time_point now_{};
  time_point expired_at_{};

  // The present round: about a budget's worth of landings.
  std::uint64_t round_bytes_ = 0;
  std::uint32_t round_marks_ = 0;
  duration round_lag_ = duration::max();  ///< the least
  const destination* round_to_ = nullptr; ///< where that was seen
  duration near_lag_{};                   ///< those of the round before
  const destination* near_to_ = nullptr;  ///< null: nothing is known to compare with
  bool limited_ = false;                  ///< the budget held something back

  rate_meter rate_; ///< at which bytes land
  best_rate best_;

  bool crowded_ = false;
  std::array<heard, board_page::most_entries> heard_{};
  time_point looked_at_{};                    ///< at the board
  double share_ = 1.0;                        ///< of the rail, among those on the host that carry bulk
  bool others_probe_ = false;                 ///< and keep the way empty
  std::uint64_t other_limit_ = first_crowded; ///< the one of the other time, crowded or quiet

  // The probe: the way is kept empty.
  static constexpr std::uint32_t probe_marks = 8;
  bool probing_ = false;
  time_point announced_{};                   ///< until when others were asked to keep the way empty too; zero: not
  std::uint64_t resumes_at_ = 0;             ///< the limit of before
  time_point probed_at_{};                   ///< when the last one began
  time_point latency_at_{};                  ///< when the last one ended that heard of realtime traffic
  std::array<duration, probe_marks> lags_{}; ///< seen in it
  std::uint32_t lag_count_ = 0;
  duration empty_lag_{}; ///< what it found; zero: nothing yet
};

} // namespace weft::lanes
