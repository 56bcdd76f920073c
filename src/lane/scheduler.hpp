// Decides which lane sends next on one rail: deficit round robin over bytes by weight, and round robin over the flows
// inside a lane. Pure logic: no I/O, no clock. One thread owns it.
#pragma once

#include "weft/lane.hpp"

#include <array>
#include <cstdint>
#include <list>

namespace weft::lanes {

/// Something with bytes to send on one lane: the slices that one link has for it.
class flow {
public:
  /// Sends about `quantum` bytes or less; returns how many. 0 means that it cannot go on now: it is taken off the
  /// scheduler and must be made ready again.
  virtual std::uint64_t send(std::uint64_t quantum) = 0;

protected:
  ~flow() = default;

private:
  friend class scheduler;
  bool queued_ = false;
  std::list<flow*>::iterator place_;
};

class scheduler {
public:
  /// `weights` are shares relative to each other, each at least 1.
  explicit scheduler(const std::array<std::uint32_t, lane_count>& weights) noexcept : weights_(weights) {}

  void set_weights(const std::array<std::uint32_t, lane_count>& weights) noexcept { weights_ = weights; }

  /// `sender` has something to send; it keeps its turn when it is queued already. Never calls send itself.
  void ready(lane on, flow& sender);
  /// Forgets `sender`, which may be destroyed then. Must not be called from its own send.
  void remove(lane on, flow& sender) noexcept;

  [[nodiscard]] bool idle() const noexcept;

  /// Lets flows send until none is ready or `allowance` bytes went out; returns how many did.
  std::uint64_t run(std::uint64_t allowance);

  /// Bytes that a weight of 1 may send in one round.
  static constexpr std::uint64_t quantum = 64 * 1024;
  /// Bytes that a flow of the only busy lane may send at once: what a path can hand on in one go.
  static constexpr std::uint64_t lone_quantum = 1024 * 1024;

private:
  struct queue {
    std::list<flow*> ready;
    std::list<flow*> spare;   ///< nodes for reuse: queueing allocates nothing once warm
    std::int64_t deficit = 0; ///< bytes it may send; below 0 when the last slice was larger than what was left
  };

  /// Lets the lane send what its deficit allows.
  std::uint64_t serve(queue& lane, std::uint64_t allowance);
  /// Lets one flow of the only busy lane send: that costs the lane nothing, as nobody waits.
  std::uint64_t serve_alone(queue& lane, std::uint64_t allowance);
  [[nodiscard]] bool alone(const queue& lane) const noexcept;
  static std::uint64_t let_send(queue& lane, std::uint64_t quantum);

  std::array<std::uint32_t, lane_count> weights_;
  std::array<queue, lane_count> queues_;
  std::size_t turn_ = 0; ///< whose turn it is, kept from run to run: else small allowances would all go to the first
  bool paid_ = false;    ///< it has got its share of this turn
};

} // namespace weft::lanes
