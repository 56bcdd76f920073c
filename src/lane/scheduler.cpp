#include "lane/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace weft::lanes {
namespace {

/// The time that a rate gives for so many bytes.
duration time_of(std::uint64_t bytes, std::uint64_t rate) noexcept {
  return std::chrono::nanoseconds(
      static_cast<std::int64_t>(1e9 * static_cast<double>(bytes) / static_cast<double>(rate)));
}

} // namespace

void scheduler::set(const policies& chosen) noexcept {
  for (std::size_t i = 0; i < lane_count; ++i) {
    // What was sent under another policy is no debt under this one.
    if (chosen[i].limit != policies_[i].limit) queues_[i].limited_until = std::min(queues_[i].limited_until, now_);
    if (chosen[i].reservation != policies_[i].reservation) {
      queues_[i].reserved_at = std::min(queues_[i].reserved_at, now_);
    }
  }
  policies_ = chosen;
  under_way_.keep(reserved());
}

/// Of all lanes.
std::uint64_t scheduler::reserved() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& each : policies_) sum += each.reservation;
  return sum;
}

void scheduler::ready(lane on, flow& sender) {
  auto& lane = queues_[static_cast<std::size_t>(on)];
  lane.ready.add(sender, sender.wanted_by());
  if (lane.held_up == &sender) lane.held_up = nullptr;
}

void scheduler::remove(lane on, flow& sender) noexcept {
  auto& lane = queues_[static_cast<std::size_t>(on)];
  lane.ready.remove(sender);
  if (lane.held_up == &sender) lane.held_up = nullptr;
}

void scheduler::advance(time_point now) noexcept {
  now_ = now;
  under_way_.advance(now);
  if (!under_way_.open()) under_way_.expire(now);
}

bool scheduler::waits_for_limit(std::size_t which) const noexcept {
  return !queues_[which].ready.empty() && policies_[which].limit != 0 && queues_[which].limited_until > now_;
}

bool scheduler::may_send(std::size_t which) const noexcept {
  return !queues_[which].ready.empty() && !waits_for_limit(which);
}

bool scheduler::others_may_send(std::size_t which) const noexcept {
  for (std::size_t other = 0; other < lane_count; ++other) {
    if (other != which && may_send(other)) return true;
  }
  return false;
}

bool scheduler::is_held_up(std::size_t which) const noexcept {
  const auto& lane = queues_[which];
  const bool at_limit = policies_[which].limit != 0 && lane.limited_until > now_;
  // It may have given up meanwhile what it had.
  return lane.ready.empty() && lane.held_up != nullptr && !at_limit && lane.held_up->is_held_up();
}

bool scheduler::is_alone(std::size_t which) const noexcept {
  for (std::size_t other = 0; other < lane_count; ++other) {
    if (other != which && (may_send(other) || is_held_up(other))) return false;
  }
  return true;
}

bool scheduler::idle() const noexcept {
  return !under_way_.open() || !others_may_send(lane_count);
}

time_point scheduler::next_due() const noexcept {
  auto due = time_point::max();
  for (std::size_t i = 0; i < lane_count; ++i) {
    if (waits_for_limit(i)) due = std::min(due, queues_[i].limited_until);
  }
  if (!under_way_.open() && others_may_send(lane_count)) due = std::min(due, under_way_.next_due());
  return due;
}

/// Notes what a lane has sent.
void scheduler::charge(std::size_t which, std::uint64_t bytes) noexcept {
  auto& lane = queues_[which];
  const auto& has = policies_[which];
  const auto earliest = now_ - longest_lag;
  if (has.limit != 0) lane.limited_until = std::max(lane.limited_until, earliest) + time_of(bytes, has.limit);
  // What it gets by weight while it is not behind counts for nothing.
  if (has.reservation != 0 && lane.reserved_at <= now_) {
    lane.reserved_at = std::max(lane.reserved_at, earliest) + time_of(bytes, has.reservation);
  }
}

/// The first flow's turn: it goes to the end, or off the list when it cannot go on.
std::uint64_t scheduler::serve_once(std::size_t which, std::uint64_t most) {
  auto& lane = queues_[which];
  auto& sender = lane.ready.front();
  const auto sent = sender.send(std::min(most, under_way_.quantum()));
  if (sent == 0) {
    lane.ready.remove(sender);
    if (sender.is_held_up()) {
      ++waits_.channel;
      lane.held_up = &sender;
    }
  } else {
    lane.ready.end_turn(sender);
    lane.ready.add(sender, sender.wanted_by());
  }
  charge(which, sent);
  return sent;
}

std::size_t scheduler::behind() const noexcept {
  auto first = lane_count;
  for (std::size_t i = 0; i < lane_count; ++i) {
    const bool is_behind = policies_[i].reservation != 0 && queues_[i].reserved_at <= now_ && may_send(i);
    if (is_behind && (first == lane_count || queues_[i].reserved_at < queues_[first].reserved_at)) first = i;
  }
  return first;
}

/// A step of the round.
std::uint64_t scheduler::serve_by_weight(std::uint64_t allowance) {
  auto& lane = queues_[turn_];
  std::uint64_t total = 0;
  const auto pay = static_cast<std::int64_t>(std::min(quantum, under_way_.quantum()) * policies_[turn_].weight);
  if ((may_send(turn_) || is_held_up(turn_)) && !std::exchange(paid_, true)) lane.deficit += pay;
  if (may_send(turn_)) {
    if (lane.deficit > 0) {
      // A flow sends whole slices, so it may overdraw; the lane pays in the next rounds.
      const auto most = policies_[turn_].limit != 0 ? std::min(allowance, quantum) : allowance;
      total = serve_once(turn_, std::min(static_cast<std::uint64_t>(lane.deficit), most));
      lane.deficit -= static_cast<std::int64_t>(total);
    }
    if (may_send(turn_) && lane.deficit > 0) return total; // its turn goes on
  }
  // An idle lane saves nothing up, but pays what it overdrew: else one slice at a time would escape its weight. One
  // that its channels hold up, as a full socket does, makes its turns good.
  if (!may_send(turn_)) lane.deficit = std::min(lane.deficit, is_held_up(turn_) ? most_rounds_saved * pay : 0);
  turn_ = (turn_ + 1) % lane_count;
  paid_ = false;
  return total;
}

std::uint64_t scheduler::run(std::uint64_t allowance) {
  std::uint64_t total = 0;
  while (total < allowance && !idle()) {
    const auto left = std::min(allowance - total, under_way_.room());
    auto first = behind();
    for (std::size_t i = 0; i < lane_count && first == lane_count; ++i) {
      if (may_send(i) && is_alone(i)) first = i;
    }
    if (first == lane_count) {
      total += serve_by_weight(left);
      continue;
    }
    // It goes before the others at no cost to its turn; alone it may send more at once, unless that would be a lump of
    // what it is limited to.
    const bool beside = !is_alone(first);
    const bool lumps = beside || policies_[first].limit != 0;
    const auto sent = serve_once(first, std::min(lumps ? quantum : lone_quantum, left));
    total += sent;
    auto& deficit = queues_[first].deficit;
    if (!beside) deficit = std::min<std::int64_t>(deficit, 0);
  }
  count_waits();
  return total;
}

void scheduler::count_waits() noexcept {
  bool limited = false;
  for (std::size_t i = 0; i < lane_count; ++i) limited |= waits_for_limit(i);
  if (limited) ++waits_.limit;
  if (!under_way_.open() && others_may_send(lane_count)) ++waits_.budget;
}

} // namespace weft::lanes
