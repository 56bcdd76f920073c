// Decides which of one thread's lanes sends next on one rail, in the words of mClock (Gulati, Merchant, Varman:
// "mClock: handling throughput variability for hypervisor IO scheduling", OSDI 2010): lanes that are behind their
// reservation first; then deficit round robin over bytes by weight; and no lane beyond its limit. Realtime has a
// thread, and so a scheduler, of its own: it waits for no other lane, and what holds it is its limit. Inside a lane the
// flow whose bytes are wanted first, and the others in turn. Pure logic: no I/O, no clock. One thread owns it.
#pragma once

#include "base/clock.hpp"
#include "base/counter.hpp"
#include "base/lag_counters.hpp"
#include "lane/budget.hpp"
#include "lane/ingress.hpp"
#include "lane/policy.hpp"
#include "lane/turns.hpp"

#include <array>
#include <cstdint>

namespace weft::lanes {

/// Something with bytes to send on one lane: the slices that one link has for it.
class flow : public turn {
public:
  /// Sends `quantum` bytes or less, or a grain; returns how many. 0 means that it cannot go on now: it is taken off the
  /// scheduler and must be made ready again.
  virtual std::uint64_t send(std::uint64_t quantum) = 0;
  /// Whether it has more to send, though it cannot now.
  [[nodiscard]] virtual bool is_held_up() const noexcept { return false; }
  /// When the first of what it has is wanted, if that orders it among the flows of its lane; max(): nobody said.
  [[nodiscard]] virtual time_point wanted_by() const noexcept { return time_point::max(); }

protected:
  ~flow() = default;
};

/// How often a run ended with flows that had more to send, by what held them back; any thread may read them.
struct wait_counters {
  counter budget;
  counter limit;
  counter channel; ///< a flow could not go on
};

class scheduler {
public:
  static constexpr std::uint64_t no_budget = budget::none;

  /// `board` and `fixed_budget`: as those of budget.
  scheduler(const policies& chosen, host_board& board, std::uint64_t fixed_budget = no_budget) noexcept
      : policies_(chosen), under_way_(board, fixed_budget), coming_in_(board), board_(board) {
    under_way_.keep(reserved());
  }

  /// In force from the next quantum on.
  void set(const policies& chosen) noexcept;
  /// The time of what follows; it does not go back.
  void advance(time_point now) noexcept;

  /// What flows have under way, which they account for.
  [[nodiscard]] budget& under_way() noexcept { return under_way_; }
  /// What comes in on the rail, for which its flows' links account.
  [[nodiscard]] ingress& coming_in() noexcept { return coming_in_; }
  /// From a flow's send: so much goes to a channel.
  void released(flight& to, std::uint64_t bytes, bool marked) noexcept { under_way_.released(to, bytes, marked, now_); }
  [[nodiscard]] const wait_counters& waits() const noexcept { return waits_; }
  /// A realtime message took so long to arrive.
  void arrived(duration lag, time_point now) noexcept {
    board_.sample(lag, now);
    arrivals_.record(lag);
  }
  [[nodiscard]] const lag_counters& arrivals() const noexcept { return arrivals_; }
  [[nodiscard]] host_board& board() const noexcept { return board_; }

  /// `sender` has something to send, or more that is wanted sooner; it keeps its turn when it is queued already. Never
  /// calls send itself.
  void ready(lane on, flow& sender);
  /// Forgets `sender`, which may be destroyed then. Must not be called from its own send.
  void remove(lane on, flow& sender) noexcept;

  /// Whether nothing may be sent now: no flow is ready, or only such of lanes at their limit, or the budget is spent.
  [[nodiscard]] bool idle() const noexcept;
  /// When the first of the lanes that wait for their limit may go on, or the budget must be looked at; max() if neither
  /// holds anything back.
  [[nodiscard]] time_point next_due() const noexcept;

  /// Lets flows send until none may or `allowance` bytes went out; returns how many did.
  std::uint64_t run(std::uint64_t allowance);

  /// Bytes that a weight of 1 may send in one round, and that a flow may send at once beside other lanes; less where
  /// the budget has a smaller quantum.
  static constexpr std::uint64_t quantum = 64 * 1024;
  /// Bytes that a flow of the only busy lane may send at once: what a path can hand on in one go.
  static constexpr std::uint64_t lone_quantum = 1024 * 1024;
  /// Rounds that a lane which its channels hold up may make good later.
  static constexpr std::int64_t most_rounds_saved = 16;
  /// How far a lane that was idle or held up may lag behind its limit, or its reservation, and make that good.
  static constexpr duration longest_lag = std::chrono::milliseconds(5);

private:
  struct queue {
    turns<flow> ready;
    std::int64_t deficit = 0;   ///< bytes it may send; below 0 when the last slice was larger than what was left
    time_point limited_until{}; ///< when what it has sent is within its limit
    time_point reserved_at{};   ///< when it is behind its reservation if it sends nothing more
    flow* held_up = nullptr;    ///< could not go on though it had more to send, and was not made ready since
  };

  [[nodiscard]] std::uint64_t reserved() const noexcept;
  [[nodiscard]] bool waits_for_limit(std::size_t which) const noexcept;
  [[nodiscard]] bool may_send(std::size_t which) const noexcept;
  [[nodiscard]] bool others_may_send(std::size_t which) const noexcept;
  [[nodiscard]] bool is_held_up(std::size_t which) const noexcept;
  [[nodiscard]] bool is_alone(std::size_t which) const noexcept;
  /// The lane that is furthest behind its reservation; lane_count if none is.
  [[nodiscard]] std::size_t behind() const noexcept;
  std::uint64_t serve_once(std::size_t which, std::uint64_t most);
  std::uint64_t serve_by_weight(std::uint64_t allowance);
  void count_waits() noexcept;
  void charge(std::size_t which, std::uint64_t bytes) noexcept;

  policies policies_;
  budget under_way_;
  ingress coming_in_;
  host_board& board_;
  time_point now_{};
  wait_counters waits_;
  lag_counters arrivals_; ///< of realtime messages
  std::array<queue, lane_count> queues_;
  std::size_t turn_ = 0; ///< whose turn it is, kept from run to run: else small allowances would all go to the first
  bool paid_ = false;    ///< it has got its share of this turn
};

} // namespace weft::lanes
