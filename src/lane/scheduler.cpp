#include "lane/scheduler.hpp"

#include <algorithm>
#include <utility>

namespace weft::lanes {

void scheduler::ready(lane on, flow& sender) {
  if (sender.queued_) return;
  auto& to = queues_[static_cast<std::size_t>(on)];
  if (to.spare.empty()) {
    to.ready.push_back(&sender);
  } else {
    to.ready.splice(to.ready.end(), to.spare, to.spare.begin());
    to.ready.back() = &sender;
  }
  sender.place_ = std::prev(to.ready.end());
  sender.queued_ = true;
}

void scheduler::remove(lane on, flow& sender) noexcept {
  if (!sender.queued_) return;
  auto& from = queues_[static_cast<std::size_t>(on)];
  from.spare.splice(from.spare.end(), from.ready, sender.place_);
  sender.queued_ = false;
}

bool scheduler::idle() const noexcept {
  return std::all_of(queues_.begin(), queues_.end(), [](const queue& lane) { return lane.ready.empty(); });
}

/// The first flow's turn: it goes to the end, or off the list when it cannot go on.
std::uint64_t scheduler::let_send(queue& lane, std::uint64_t quantum) {
  auto& sender = *lane.ready.front();
  const auto sent = sender.send(quantum);
  auto& to = sent == 0 ? lane.spare : lane.ready;
  to.splice(to.end(), lane.ready, sender.place_);
  if (sent == 0) sender.queued_ = false;
  return sent;
}

std::uint64_t scheduler::serve(queue& lane, std::uint64_t allowance) {
  std::uint64_t total = 0;
  while (!lane.ready.empty() && lane.deficit > 0 && total < allowance) {
    const auto sent = let_send(lane, std::min(static_cast<std::uint64_t>(lane.deficit), allowance - total));
    // A flow sends whole slices, so it may overdraw; the lane pays in the next rounds.
    total += sent;
    lane.deficit -= static_cast<std::int64_t>(sent);
  }
  // An idle lane saves nothing up, but pays what it overdrew: else one slice at a time would escape its weight.
  if (lane.ready.empty()) lane.deficit = std::min<std::int64_t>(lane.deficit, 0);
  return total;
}

std::uint64_t scheduler::serve_alone(queue& lane, std::uint64_t allowance) {
  lane.deficit = std::min<std::int64_t>(lane.deficit, 0);
  return let_send(lane, std::min(lone_quantum, allowance));
}

bool scheduler::alone(const queue& lane) const noexcept {
  return std::all_of(queues_.begin(), queues_.end(),
                     [&lane](const queue& other) { return &other == &lane || other.ready.empty(); });
}

std::uint64_t scheduler::run(std::uint64_t allowance) {
  std::uint64_t total = 0;
  while (total < allowance && !idle()) {
    auto& lane = queues_[turn_];
    if (!lane.ready.empty()) {
      if (alone(lane)) {
        total += serve_alone(lane, allowance - total);
        continue;
      }
      if (!std::exchange(paid_, true)) lane.deficit += static_cast<std::int64_t>(quantum * weights_[turn_]);
      total += serve(lane, allowance - total);
      if (!lane.ready.empty() && lane.deficit > 0) break; // its turn goes on in the next run
    }
    turn_ = (turn_ + 1) % lane_count;
    paid_ = false;
  }
  return total;
}

} // namespace weft::lanes
