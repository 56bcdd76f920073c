// The end of an operation before its data is complete: stop, fence, and the channels it depends on.
#include "link/engine.hpp"

namespace weft::links {

/// Ends an operation with an error: at once when no channel holds its memory, else after the fence.
void engine::stop(operation& op, const error& why) {
  if (op.now == phase::queued) return end_early(op, why);
  op.ending.code = why.code();
  op.ending.where = why.where();
  op.ending.maybe_executed = op.ours;
  op.ending.bytes = op.in ? op.in->verified_bytes : 0;
  if (op.ours && !op.answered)
    push(wire::frame_type::cancel, op.id).header.code = static_cast<std::uint32_t>(why.code());
  const bool moved = op.now == phase::moving;
  op.now = phase::stopping;
  op.fence_due = deadline_after(now_, limits_.fence_timeout);
  forget_in_lane(op);
  const auto* channel = state_of(op).channel;
  const bool one_sided = channel != nullptr && channel->can().one_sided;
  op.awaits_marker = one_sided && moved && op.in && !op.marker_seen;
  post_marker(op);
  try_finish_stop(op);
}

/// The sender's word that no slice of the transfer follows on the channel.
void engine::post_marker(operation& op) {
  const bool sends = op.ours == (op.terms.kind == wire::operation_kind::write);
  auto* channel = state_of(op).channel;
  if (!sends || op.terms.kind == wire::operation_kind::request || channel == nullptr || !channel->can().one_sided)
    return;
  if (op.out && op.out->posts > 0) return; // sent() comes back here
  // A channel takes a marker even when it takes nothing else.
  std::ignore = channel->post_message(
      {.type = wire::frame_type::marker, .epoch = channel->epoch(), .received = received_, .transfer = op.id}, {});
}

/// Nothing of it has begun, or nothing will: no fence is needed.
void engine::end_early(operation& op, const error& why) {
  op.ending.code = why.code();
  op.ending.where = why.where();
  finish(op);
}

void engine::try_finish_stop(operation& op) {
  if ((op.out && op.out->posts > 0) || op.awaits_marker) return schedule(op);
  op.fence_due = time_point::max();
  // The peer's handler hears of the end first and answers then, unless nobody waits for that or it has answered.
  if (op.ours || op.peer_gone || op.answered) return finish(op);
  tell_owner(op);
  op.out.reset();
  op.in.reset();
  op.now = phase::settling;
  schedule(op);
}

/// Finishes an operation whose success is certain, as soon as no channel reads its memory any more.
void engine::succeed(operation& op) {
  if (!op.out || op.out->posts == 0) return finish(op);
  op.now = phase::settling;
  op.answered = true;
  op.fence_due = deadline_after(now_, limits_.fence_timeout);
  schedule(op);
}

void engine::force_fence(operation& op) {
  auto& state = state_of(op);
  if (state.channel == nullptr) return;
  ++counters_.forced_fences;
  state.forced = true;
  close(state);
}

void engine::close(lane_state& on) {
  if (on.channel != nullptr && !std::exchange(on.closing, true)) host_.close_channel(on.on);
}

/// Takes it out of everything that points to it from its lane.
void engine::forget_in_lane(operation& op) {
  auto* state = state_of(op.terms.carries);
  if (state == nullptr) return;
  if (state->incoming.into == &op) state->incoming.into = nullptr;
  if (op.out) state->round.remove(op);
}

void engine::want_channel(lane_state& on) {
  if (on.channel != nullptr || on.wanted || over_) return;
  on.wanted = true;
  host_.open_channel(on.on);
}

void engine::channel_up(lane on, path::channel& opened) {
  auto& state = *state_of(on);
  state.channel = &opened;
  state.wanted = state.closing = false;
  state.last_epoch = opened.epoch();
  state.incoming = {};
  // Opening this epoch proves that this end holds no older one; one that never came up here is fenced all the same.
  if (const auto older = opened.epoch() - 1; state.fenced_here < older) {
    auto& message = push(wire::frame_type::channel_fenced, 0);
    message.header.index = static_cast<std::uint32_t>(on);
    message.header.code = older;
    state.fenced_here = older;
  }
  if (&state == &message_lane()) outbox_.rewind();
  resend_after_fence(state);
}

void engine::channel_down(lane on) {
  auto& state = *state_of(on);
  if (state.channel == nullptr) return;
  state.channel = nullptr;
  state.incoming = {};
  state.stranded = true;
  state.stranded_epoch = state.last_epoch;
  const bool forced = std::exchange(state.forced, false);
  rail_.remove(on, state);

  std::vector<operation*> stopped;
  bool needed = &state == &message_lane() && !outbox_.empty();
  for (auto& [id, op] : operations_) {
    if (op->terms.carries != on || (!op->out && !op->in)) continue;
    if (op->out) op->out->posts = 0;
    op->awaits_marker = false;
    if (op->fencing()) {
      stopped.push_back(op.get());
    } else if (op->now == phase::moving) {
      if (op->in) push_progress(*op);
      needed = true;
      if (forced) ++counters_.collateral;
    }
  }
  auto& message = push(wire::frame_type::channel_fenced, 0);
  message.header.index = static_cast<std::uint32_t>(on);
  message.header.code = state.last_epoch;
  state.fenced_here = state.last_epoch;
  for (auto* op : stopped) op->now == phase::stopping ? try_finish_stop(*op) : finish(*op);
  if (needed) want_channel(state);
}

void engine::fence_arrived(const wire::frame_header& header) {
  if (header.index >= lane_count) return broken("channel_fenced for an unknown lane");
  auto* state = state_of(static_cast<lane>(header.index));
  if (state == nullptr) return broken("channel_fenced for a lane of another thread");
  state->fenced_there = std::max(state->fenced_there, header.code);
  // The peer gave the channel up, and this end has not noticed yet.
  if (state->channel != nullptr && state->channel->epoch() <= header.code) return close(*state);
  resend_after_fence(*state);
}

void engine::fail_all(const error& why) {
  over_ = why;
  for (auto& state : lanes_) rail_.remove(state.on, state);
  std::vector<operation*> all;
  for (auto& [id, op] : operations_) all.push_back(op.get());
  for (auto* op : all) {
    if (!op->ending.code) {
      op->ending.code = why.code();
      op->ending.where = why.where();
      op->ending.maybe_executed = op->ours && op->now != phase::queued;
    }
    finish(*op);
  }
  waiting_.clear();
  complete_ended();
}

} // namespace weft::links
