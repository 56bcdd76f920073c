// What comes in on a rail, from all peers. Each of them keeps the way to here full by itself, so several together make
// a queue before the last link, and none knows of the realtime traffic that waits in it. While there is some, this end
// tells its senders how much each may have under way: as little as does not cost the rate at which bytes arrive. That
// is tried, step by step; latency need not be known for it. It is tried by one for all of the host that arrives on the
// rail: each by itself would take as a loss what only went to its neighbour. Pure logic: no I/O, no clock. One thread
// owns it.
#pragma once

#include "lane/host_board.hpp"
#include "lane/rate_meter.hpp"

#include <array>
#include <cstdint>

namespace weft::lanes {

class ingress {
public:
  /// One peer, as what comes from it counts.
  class source {
    friend class ingress;
    std::uint64_t interval_ = 0; ///< the last one in which something came
    std::uint32_t awaited_ = 0;
  };
  /// Something is to come from a source, as long as this lives: what is allowed is for those of whom that is so.
  class awaited {
  public:
    awaited(ingress& by, source& from) noexcept : by_(by), from_(from) {
      if (from_.awaited_++ == 0) ++by_.awaited_;
    }
    ~awaited() {
      if (--from_.awaited_ == 0) --by_.awaited_;
    }
    awaited(const awaited&) = delete;
    awaited& operator=(const awaited&) = delete;

  private:
    ingress& by_;
    source& from_;
  };

  /// `board`: of the rail.
  explicit ingress(host_board& board) noexcept : board_(board) {}

  /// `held`: the source has as much under way as it is allowed.
  void arrived(source& from, std::uint64_t bytes, bool held, time_point now) noexcept;
  /// Whether sources are to be told, and soon.
  [[nodiscard]] bool limits(time_point now) const noexcept { return allowed_ > 0 && now - came_at_ < arrivals_last; }
  /// Bytes that a source of whom something is awaited may have under way to here, a multiple of the budget's grain; 0:
  /// as many as it likes. Shares are rounded now down, now up.
  [[nodiscard]] std::uint64_t allowance(time_point now) noexcept;

private:
  /// Where nothing came for so long nothing is limited: what was found was of other traffic.
  static constexpr duration arrivals_last = host_board::arrivals_last;

  void end_interval(time_point now) noexcept;
  void control(bool held, time_point now) noexcept;
  void look_at(double rate, time_point now) noexcept;
  void begin(time_point now) noexcept;
  void step(bool held, time_point now) noexcept;

  host_board& board_;
  rate_meter rate_;
  time_point came_at_{};    ///< the last arrival
  bool paused_ = false;     ///< nothing came for a while in this interval
  bool was_paused_ = false; ///< nor in the one before
  std::uint64_t interval_ = 1;
  std::uint64_t active_ = 0;  ///< sources in this interval
  std::uint64_t awaited_ = 0; ///< sources of whom something is
  std::uint64_t bytes_ = 0;   ///< in it
  std::uint64_t held_ = 0;    ///< of these, from sources that were held
  host_board::arrivals told_; ///< to the board, last
  host_board::arrivals all_;  ///< on the host
  std::uint32_t several_ = 0; ///< intervals with several sources, more than without
  bool are_several_ = false;
  std::uint64_t allowed_ = 0; ///< to them together; 0: as much as they like

  // Of the one that tries it.
  time_point tried_at_{};
  double least_ = 0; ///< rate of all in this window
  time_point looks_from_{};
  std::uint32_t looks_ = 0;
  bool disturbed_ = false;    ///< by a probe
  best_rate best_;            ///< of all, beside realtime traffic
  time_point paused_until_{}; ///< a limit cost too much
  bool known_ = false;        ///< it is
  double limit_ = 0;
  double step_ = 1.0;              ///< the next one down: larger with each that cost nothing
  std::array<double, 2> enough_{}; ///< the least limits that cost nothing: lately, and in the time before
  time_point turned_{};
  std::uint32_t lost_ = 0;    ///< intervals in a row in which much was lost
  std::uint32_t probing_ = 0; ///< more for so many intervals: is there more to be had?
  time_point probed_at_{};
  duration probe_after_{};
  double best_before_ = 0; ///< the probe
  double in_probe_ = 0;    ///< the least rate in it
  std::uint64_t owed_ = 0; ///< less than a grain that earlier sources were not allowed
};

} // namespace weft::lanes
