// Deadlines, stalls and forced fences: one timer per operation.
#include "link/engine.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weft::links {
namespace {

/// How long a sender on a slow path waits to hear of a slice; on a fast one a part of the window says it sooner.
constexpr auto report_after = std::chrono::milliseconds(5);

/// When it has been without a verified byte for too long; max(): never.
time_point stalls_at(const operation& op) noexcept {
  const bool may = op.now == phase::moving || (op.ours && op.now == phase::asked);
  return may && op.stall != duration::max() ? deadline_after(op.last_progress, op.stall) : time_point::max();
}

} // namespace

/// Sets the timer of an operation to the first thing that may happen to it by time alone.
void engine::schedule(operation& op) {
  auto due = op.fencing() ? op.fence_due : op.deadline;
  due = std::min(due, stalls_at(op));
  if (op.now == phase::moving && op.in && !op.in->news.empty()) due = std::min(due, op.in->news_since + report_after);
  timers_.set(op, due);
}

void engine::tick() {
  while (timers_.next() <= now_) expired(static_cast<operation&>(*timers_.first()));
  if (recheck_at_ > now_) return;
  recheck_at_ = time_point::max();
  for (auto& state : lanes_) {
    for (const auto& each : state.channels) {
      if (each->channel == nullptr) continue;
      const auto late = each->under_way.too_slow_at(lanes::budget::patience, lanes::budget::longest_patience);
      if (late <= now_) each->over->rail.under_way().write_off(each->under_way);
    }
  }
  wake_lanes();
}

/// What explains that an operation did not get on, if this end knows.
std::string engine::missing_way(const operation& op) {
  const auto& messages = message_channel();
  if (messages.channel == nullptr) return fmt::format("; the {} lane has no channel now", name(messages.at.carries));
  const auto& state = state_of(op);
  const bool any = std::ranges::any_of(state.channels, [](const auto& each) { return each->channel != nullptr; });
  if (op.slices.length == 0 || any) return {};
  return fmt::format("; the {} lane has no channel now", name(state.on));
}

void engine::expired(operation& op) {
  if (op.fencing()) {
    op.fence_due = time_point::max();
    schedule(op);
    return force_fence(op);
  }
  if (op.deadline <= now_) {
    const bool moves = op.terms.kind != wire::operation_kind::request;
    const auto got = moves ? fmt::format("{} of {} bytes were verified", op.verified_bytes(), op.slices.length)
                           : std::string("there was no answer in time");
    return stop(op, error(errc::deadline_exceeded, got + missing_way(op)));
  }
  if (stalls_at(op) <= now_) {
    return stop(op, error(errc::peer_unresponsive, "no byte was verified for the time of stall"));
  }
  if (op.in && !op.in->news.empty() && op.in->news_since + report_after <= now_) push_progress(op);
  schedule(op);
}

} // namespace weft::links
