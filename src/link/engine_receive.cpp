// The receiving half: slices in, each checked before it counts, and reports to the sender.
#include "base/crc32c.hpp"
#include "link/engine.hpp"

namespace weft::links {
namespace {

constexpr std::uint64_t few_refusals = 16;

} // namespace

void engine::open_receiver(operation& op, memory::piece_list pieces, std::uint64_t window) {
  auto& in = op.in.emplace();
  in.pieces = std::move(pieces);
  in.verified = bitmap(op.slices.count());
  in.window = window;
  ++receivers_;
  for (auto& each : arrivals_) await(each);
}

/// It lets go of the memory.
void engine::close_receiver(operation& op) {
  if (!op.in) return;
  op.in.reset();
  --receivers_;
  for (auto& each : arrivals_) await(each);
}

/// Says, or no longer says, that something is to come there.
void engine::await(arrivals& on) {
  const bool wanted = receivers_ > 0 && on.channels > 0 && !carries_realtime();
  if (!wanted) {
    on.awaited.reset();
  } else if (!on.awaited) {
    on.awaited.emplace(on.rail.coming_in(), on.from_peer);
  }
}

/// Whether the peer is to be told, and soon, what it may have under way on some rail.
bool engine::limits_peer() noexcept {
  return std::ranges::any_of(arrivals_,
                             [this](auto& each) { return each.channels > 0 && each.rail.coming_in().limits(now_); });
}

/// The open transfer that a slice belongs to, if any wants it.
operation* engine::receiving(const wire::frame_header& header) noexcept {
  auto* op = find(header.transfer);
  if (op == nullptr || !op->in || op->now != phase::moving) return nullptr;
  return op;
}

/// `from`: where in its slice the part begins. `whole`: it must be all of the slice.
bool engine::plausible(const operation& op, const wire::frame_header& header, std::uint32_t from, bool whole) noexcept {
  if (header.index >= op.slices.count() || header.offset != op.slices.offset(header.index) + from) return false;
  const auto length = op.slices.length_of(header.index);
  const bool fits = from < length && header.body_length > 0 && header.body_length <= length - from;
  const bool checked = (header.flags & wire::flag_body_crc) != 0;
  return fits && (!whole || header.body_length == length) && (checked || op.terms.verify == verify_mode::wire);
}

/// What every slice tells and must have, whether or not somebody wants it.
bool engine::slice_may_come(const channel_state& on, const wire::frame_header& header) {
  if (broken_) return false;
  if (on.channel == nullptr || header.epoch != on.channel->epoch()) {
    broken("slice of another channel's epoch");
  } else if (!outbox_.acknowledge(header.received)) {
    broken("acknowledgement of messages that were never sent");
  }
  return !broken_;
}

void engine::slice_began(wire::place at, const wire::frame_header& header) {
  auto& state = channel_of(at);
  auto& arriving = state.incoming;
  const bool goes_on = arriving.goes_on_with(header);
  const auto last = std::exchange(arriving, {.header = header});
  if (goes_on) {
    arriving.before = last.before + last.done;
    arriving.crc = last.crc;
  }
  if (!slice_may_come(state, header)) return;
  auto* op = receiving(header);
  if (op != nullptr && (op->terms.carries != at.carries || !plausible(*op, header, arriving.before, false))) {
    return broken("slice does not fit its transfer");
  }
  // Verified bytes are never written again, and an ended transfer's memory is its owner's.
  if (op != nullptr && !op->in->verified.test(header.index) && (!goes_on || last.into == op)) {
    arriving.into = op;
  } else if (!goes_on || last.into != nullptr) {
    ++counters_.slices_dropped;
  }
}

std::size_t engine::slice_space(wire::place at, std::span<iovec> out) {
  const auto& arriving = channel_of(at).incoming;
  if (arriving.into == nullptr) return 0;
  return arriving.into->in->pieces.gather(arriving.header.offset + arriving.done,
                                          arriving.header.body_length - arriving.done, out);
}

/// Whether or not somebody wants it: it has used the way.
void engine::came(const channel_state& on, const wire::frame_header& of, std::uint64_t bytes) noexcept {
  if (broken_ || carries_realtime()) return; // one that was refused at once has no rail
  auto& in = on.over->in;
  in.rail.coming_in().arrived(in.from_peer, bytes, (of.flags & wire::flag_held) != 0, now_);
}

void engine::slice_grew(wire::place at, std::size_t bytes) {
  auto& state = channel_of(at);
  auto& arriving = state.incoming;
  came(state, arriving.header, bytes);
  // Checked in pieces as they arrive, while the cache still holds them.
  if (arriving.into != nullptr && arriving.into->terms.verify == verify_mode::slice) {
    arriving.into->in->pieces.for_each(
        arriving.header.offset + arriving.done, bytes,
        [&arriving](std::span<const std::byte> part) { arriving.crc = crc32c(part, arriving.crc); });
  }
  arriving.done += static_cast<std::uint32_t>(bytes);
  if (arriving.done < arriving.header.body_length || arriving.into == nullptr) return;
  auto& op = *arriving.into;
  if (arriving.before + arriving.done < op.slices.length_of(arriving.header.index)) return; // more parts follow
  arriving.into = nullptr;
  check_slice(op, arriving.header, arriving.crc);
}

void engine::slice_landed(wire::place at, const wire::frame_header& header) {
  const auto& state = channel_of(at);
  if (!slice_may_come(state, header)) return;
  came(state, header, header.body_length);
  auto* op = receiving(header);
  if (op != nullptr && (op->terms.carries != at.carries || !plausible(*op, header, 0, true))) {
    return broken("slice record does not fit its transfer");
  }
  if (op == nullptr || op->in->verified.test(header.index)) {
    ++counters_.slices_dropped;
    return;
  }
  const bool checked = op->terms.verify == verify_mode::slice;
  check_slice(*op, header, checked ? crc_of(op->in->pieces, header.offset, header.body_length) : header.body_crc);
}

void engine::check_slice(operation& op, const wire::frame_header& header, std::uint32_t crc) {
  auto& in = *op.in;
  // One carrier at a time: while this one brought it, no other may.
  if (in.verified.test(header.index)) return broken("one slice over two channels at once");
  const bool refused = op.terms.verify == verify_mode::slice && crc != header.body_crc;
  if (refused) {
    ++counters_.slices_refused;
    // Every slice may be bad once, before the sender hears of the first; then it gives the transfer up.
    if (++op.refused > 2 * std::uint64_t{op.slices.count()} + few_refusals) {
      return broken("slices that fail their check without end");
    }
  } else {
    in.verified.set(header.index);
    const auto length = op.slices.length_of(header.index);
    in.verified_bytes += length;
    in.news_bytes += length;
    ++counters_.slices_verified;
    counts_of(op).bytes_received += length;
    op.last_progress = now_;
  }
  report(op, {header.index, 1, refused});
  if (!refused) receiver_progressed(op);
}

/// Notes what the sender is to be told: at the end of this batch, or in a while, or at the end of the transfer.
void engine::report(operation& op, wire::slice_range range) {
  auto& in = *op.in;
  const bool first = in.news.empty();
  auto* last = first ? nullptr : &in.news.back();
  if (last != nullptr && last->refused == range.refused && last->first + last->count == range.first) {
    last->count += range.count;
  } else {
    in.news.push_back(range);
  }
  if (first) {
    in.news_since = now_;
    schedule(op);
  }
  // A quarter of the window keeps the sender going; a refusal keeps it waiting until it knows; and what it may have
  // under way goes with the news.
  const bool soon = range.refused || in.news_bytes * 4 >= in.window || limits_peer();
  if (soon && !std::exchange(in.reporting, true)) reports_.push_back(op.id);
}

void engine::push_progress(operation& op) {
  auto& in = *op.in;
  const std::span<const wire::slice_range> news(in.news);
  for (std::size_t at = 0; at < news.size(); at += wire::most_ranges) {
    auto& message = push(wire::frame_type::progress, op.id);
    wire::encode(news.subspan(at, std::min(wire::most_ranges, news.size() - at)), message.body);
  }
  in.news.clear();
  in.news_bytes = 0;
  in.reporting = false;
}

void engine::receiver_progressed(operation& op) {
  if (!op.in->verified.full()) return;
  op.ending.bytes = op.slices.length;
  push_progress(op);
  if (op.ours) return finish(op); // a read: all is here, one carrier brought each slice, nothing can come late
  op.now = phase::settling;
  forget_in_lane(op);
  tell_owner(op);
  close_receiver(op);
  schedule(op);
}

void engine::marker_arrived(wire::place at, const wire::frame_header& header) {
  auto* op = find(header.transfer);
  if (op == nullptr) return;
  op->carried_by = static_cast<channel_set>(header.argument);
  op->marked_on |= only(at.number);
  if (op->now == phase::stopping) try_finish_stop(*op);
}

} // namespace weft::links
