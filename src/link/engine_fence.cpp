// The end of an operation before its data is complete: stop, fence, and the channels it depends on.
#include "link/engine.hpp"

#include <algorithm>

namespace weft::links {

/// Ends an operation with an error: at once when no channel holds its memory, else after the fence.
void engine::stop(operation& op, const error& why) {
  if (op.now == phase::queued) return end_early(op, why);
  op.ending.code = why.code();
  op.ending.where = why.where();
  op.ending.maybe_executed = op.ours;
  op.ending.bytes = op.verified_bytes();
  const bool moved = op.now == phase::moving;
  // Whoever writes here hears of it at once, before it may use another channel.
  if (op.ours && !op.answered) {
    push(wire::frame_type::cancel, op.id).header.code = static_cast<std::uint32_t>(why.code());
  } else if (!op.ours && op.in && !op.answered && !op.peer_gone) {
    push_response(op.id, why.code(), why.where(), {}, moved);
    op.answered = true;
  }
  op.now = phase::stopping;
  op.fence_due = deadline_after(now_, limits_.fence_timeout);
  forget_in_lane(op);
  for (const auto& each : state_of(op).channels) {
    if (moved && op.in && each->channel != nullptr && each->can.one_sided) op.fence_on |= only(each->at.number);
  }
  post_markers(op);
  try_finish_stop(op);
}

/// The sender's word that no slice of the transfer follows, on every channel: it names those that carried some.
void engine::post_markers(operation& op) {
  const bool sends = op.ours == (op.terms.kind == wire::operation_kind::write);
  if (!sends || op.terms.kind == wire::operation_kind::request) return;
  if (op.out && op.out->posts > 0) return; // sent() comes back here
  if (std::exchange(op.marked, true)) return;
  for (const auto& each : state_of(op).channels) {
    if (each->channel == nullptr || !each->can.one_sided) continue;
    // A channel takes a marker when it takes nothing else, as long as its peer takes anything.
    if (!each->channel->post_message({.type = wire::frame_type::marker,
                                      .epoch = each->channel->epoch(),
                                      .received = received_,
                                      .transfer = op.id,
                                      .argument = op.out ? op.out->used : channel_set{0}},
                                     {})) {
      broken("transfers are stopped without end, and nothing of that is taken");
    }
  }
}

/// Channels that may still bring bytes of it without asking. One that came up after it was stopped does not: the peer
/// hears of the stop before it may use that one.
channel_set engine::awaits_markers(const operation& op) noexcept {
  return op.fence_on & op.carried_by & static_cast<channel_set>(~op.marked_on);
}

/// Nothing of it has begun, or nothing will: no fence is needed.
void engine::end_early(operation& op, const error& why) {
  op.ending.code = why.code();
  op.ending.where = why.where();
  finish(op);
}

void engine::try_finish_stop(operation& op) {
  if ((op.out && op.out->posts > 0) || awaits_markers(op) != 0) return schedule(op);
  op.fence_due = time_point::max();
  // The peer's handler hears of the end first and answers then, unless nobody waits for that or it has answered.
  if (op.ours || op.peer_gone || op.answered) return finish(op);
  tell_owner(op);
  op.out.reset();
  close_receiver(op);
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
  // Those that hold it, and no other. Closing one may end the operation at once.
  auto holding = awaits_markers(op);
  for (std::uint8_t number = 0; op.out && number < wire::most_channels; ++number) {
    if (op.out->posts_on[number] > 0) holding |= only(number);
  }
  for (const auto& each : state_of(op).channels) {
    if ((holding & only(each->at.number)) == 0 || each->channel == nullptr || each->closing) continue;
    ++counters_.forced_fences;
    each->forced = true;
    close(*each);
  }
}

void engine::close(channel_state& of) {
  if (of.channel == nullptr || std::exchange(of.closing, true)) return;
  of.over->rail.under_way().write_off(of.under_way);
  if (of.under_way.to().was_limited()) wake_lanes();
  host_.close_channel(of.at);
}

/// Takes it out of everything that points to it from its lane.
void engine::forget_in_lane(operation& op) {
  auto& state = state_of(op);
  for (const auto& each : state.channels) {
    if (each->incoming.into == &op) each->incoming.into = nullptr;
    if (each->leaving.of == &op) each->leaving = {};
  }
  if (!op.out) return;
  state.round.remove(*op.out);
  if (op.out->unverified == 0) return;
  // What waits to go again is on no channel's account.
  for (const auto index : op.out->again) {
    op.out->unverified += op.slices.length_of(index);
    state.channels[op.out->carriers.of(index)]->unverified += op.slices.length_of(index);
  }
  for (std::uint32_t index = 0; index < op.out->next; ++index) {
    if (!op.out->verified.test(index)) no_longer_unverified(op, index);
  }
}

void engine::want_channel(channel_state& of) {
  if (of.channel != nullptr || of.wanted || over_) return;
  of.wanted = true;
  host_.open_channel(of.at);
}

/// All that slices of the lane are to be spread over.
void engine::want_channels(lane_state& on) {
  const auto count = channels_of(limits_, on.on);
  for (std::size_t i = 0; i < count; ++i) want_channel(channel_of({on.on, static_cast<std::uint8_t>(i)}));
}

void engine::channel_up(wire::place at, path::channel& opened, lanes::scheduler& rail) {
  auto& state = channel_of(at);
  if (!acknowledges()) return broken("channels without acknowledgements");
  state.channel = &opened;
  state.wanted = state.closing = false;
  const auto last = std::exchange(state.last_epoch, opened.epoch());
  state.incoming = {};
  state.over = &on_rail(*state_of(at.carries), rail);
  state.under_way = lanes::flight(state.under_way.to());
  rail.under_way().add(state.under_way);
  up_.push_back(&state);
  ++state.over->in.channels;
  await(state.over->in);
  state.can = opened.can();
  // Opening this epoch proves that this end holds no older one; one that never came up here is fenced all the same. The
  // end of the last one was told when it went down.
  const auto older = opened.epoch() - 1;
  if (last < older || state.can.one_sided) {
    auto& message = push(wire::frame_type::channel_fenced, 0);
    message.header.index = at.index();
    message.header.code = older;
    message.header.argument = opened.epoch();
  }
  if (&state == &message_channel()) outbox_.rewind();
  resend_after_fence(state);
}

void engine::channel_down(wire::place at) {
  auto& state = channel_of(at);
  auto& in_lane = *state_of(at.carries);
  if (state.channel == nullptr) return;
  state.channel = nullptr;
  state.incoming = {};
  state.leaving = {};
  auto& over = *state.over;
  over.rail.under_way().remove(state.under_way);
  std::erase(up_, &state);
  --over.in.channels;
  await(over.in);
  if (state.under_way.to().was_limited()) wake_lanes(); // it took from what all may have under way
  if (&state == &message_channel()) sample_mark_ = 0;
  state.unverified = 0;
  // One that came up while an older one was not fenced has carried nothing.
  if (!std::exchange(state.stranded, true)) state.stranded_epoch = state.last_epoch;
  const bool forced = std::exchange(state.forced, false);
  const bool others_send = std::any_of(in_lane.channels.begin(), in_lane.channels.end(),
                                       [&](const auto& each) { return each->over == &over && may_send(*each); });
  if (!others_send) over.rail.remove(at.carries, over);

  std::vector<operation*> stopped;
  bool needed = &state == &message_channel() && !outbox_.empty();
  for (auto& [id, op] : operations_) {
    if (op.terms.carries != at.carries || (!op.out && !op.in)) continue;
    if (op.out) op.out->posts -= std::exchange(op.out->posts_on[at.number], 0);
    // Its sender has stopped: nothing of it comes over a successor. A marker that comes only later still has this end
    // wait for the successor's, or close it.
    if (op.marked_on != 0 || op.now == phase::stopping) op.marked_on |= only(at.number);
    if (op.fencing()) {
      stopped.push_back(&op);
    } else if (op.now == phase::moving) {
      if (op.in) push_progress(op);
      needed = true;
      const bool carried = !op.out || (op.out->used & only(at.number)) != 0;
      if (forced && carried) ++counters_.collateral;
    }
  }
  auto& message = push(wire::frame_type::channel_fenced, 0);
  message.header.index = at.index();
  message.header.code = state.last_epoch;
  // The peer may have said before that it has fenced it.
  resend_after_fence(state);
  for (auto* op : stopped) {
    if (op->now == phase::stopping) {
      post_markers(*op);
      try_finish_stop(*op);
    } else if (!op->out || op->out->posts == 0) {
      finish(*op);
    }
  }
  if (needed) want_channel(state);
}

void engine::fence_arrived(const wire::frame_header& header) {
  if (!wire::place::is_one(header.index)) return broken("channel_fenced for an unknown place");
  const auto at = wire::place::at(header.index);
  if (state_of(at.carries) == nullptr) return broken("channel_fenced for a lane of another thread");
  auto& state = channel_of(at);
  state.fenced_there = std::max(state.fenced_there, header.code);
  state.up_there = std::max(state.up_there, static_cast<std::uint32_t>(header.argument));
  // The peer gave the channel up, and this end has not noticed yet.
  if (state.channel != nullptr && state.channel->epoch() <= header.code) return close(state);
  resend_after_fence(state);
}

void engine::fail_all(const error& why) {
  over_ = why;
  for (auto& state : lanes_) {
    for (auto& each : state.rails) each.rail.remove(state.on, each);
  }
  std::vector<operation_id> all;
  for (const auto& [id, op] : operations_) all.push_back(id);
  for (const auto id : all) {
    auto* op = find(id);
    if (op == nullptr) continue; // the memory of another one went back, and whoever waited for it has answered this one
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
