// The sending half: slices out by the rail's scheduler, what the receiver tells of them, and sending again.
#include "base/crc32c.hpp"
#include "link/engine.hpp"

#include <fmt/format.h>

namespace weft::links {
namespace {

/// Slices of one transfer that a receiver may refuse before the wire counts as broken.
constexpr std::uint32_t most_refusals = 3;

} // namespace

void engine::open_sender(operation& op, memory::piece_list pieces, std::vector<std::uint32_t> crcs,
                         std::uint64_t window) {
  auto& out = op.out.emplace(op);
  out.pieces = std::move(pieces);
  out.crcs = std::move(crcs);
  out.verified = bitmap(op.slices.count());
  out.window = window;
}

/// Puts it into its lane's round if it has slices that may go.
void engine::make_ready(operation& op) {
  auto& out = *op.out;
  auto& state = state_of(op);
  want_channels(state);
  for (const auto& each : state.channels) {
    if (each->channel == nullptr || op.slices.length == 0) continue;
    if (each->can.needs_grant && out.granted.rails() <= each->can.key)
      return broken("a grant without a key for the channel");
  }
  const bool window_open = out.unverified < out.window;
  if (op.now != phase::moving || !out.has_slices() || !window_open) return;
  state.round.add(out, op.wanted_by);
  for (const auto& each : state.channels) {
    if (each->channel == nullptr) continue;
    may_send(*each) ? each->over->make_ready() : watch_allowance(*each);
  }
}

/// A slice may go to a channel that takes more of the budget, once the peer has fenced what carried slices in its place
/// before; and one that asks nobody where its bytes go, once the peer has said that it knows the channel: behind what
/// it stopped before that.
bool engine::may_send(const channel_state& over) const noexcept {
  if (over.channel == nullptr || over.closing || over.stranded) return false;
  if (!over.over->rail.under_way().may_take(over.under_way)) return false;
  return !over.can.one_sided || over.up_there >= over.channel->epoch();
}

/// The channel with the least under way, of those that take something now; null: none does.
engine::channel_state* engine::carrier_for_slice(const lane_on_rail& on) noexcept {
  channel_state* best = nullptr;
  for (const auto& each : on.of.channels) {
    const bool wanted = each->over == &on && (each->leaving.of != nullptr || !on.of.round.empty());
    const bool better = wanted && (best == nullptr || each->unverified < best->unverified);
    if (better && may_send(*each) && each->channel->takes_slices()) best = each.get();
  }
  return best;
}

std::uint64_t engine::send_slices(lane_on_rail& on, std::uint64_t quantum) {
  if (broken_) return 0;
  auto& round = on.of.round;
  std::uint64_t total = 0;
  sender* served = nullptr;
  channel_set fed = 0;
  while (total < quantum) {
    auto* over = carrier_for_slice(on);
    if (over == nullptr) break;
    if (over->leaving.of != nullptr) {
      total += send_part(*over, over->leaving, quantum - total);
      fed |= only(over->at.number);
      continue;
    }
    served = nullptr;
    auto& out = round.front();
    auto& op = out.of;
    const bool repeat = !out.again.empty();
    const auto index = repeat ? out.again.back() : out.next;
    const bool may =
        out.has_slices() && (out.unverified == 0 || out.unverified + op.slices.length_of(index) <= out.window);
    if (!may) {
      round.remove(out);
      continue;
    }
    total += send_part(*over, {.of = &op, .index = index}, quantum - total);
    fed |= only(over->at.number);
    if (repeat) {
      out.again.pop_back();
    } else {
      ++out.next;
    }
    // It goes on until the quantum is spent: transfers that end one after the other keep a path fuller than some that
    // all end, and are begun anew, at once.
    served = &out;
    if (out.has_slices() && out.unverified < out.window) continue;
    round.remove(out);
    served = nullptr;
  }
  if (served != nullptr) round.end_turn(*served);
  for (const auto& each : on.of.channels) {
    if (total < quantum && each->channel != nullptr) watch_allowance(*each);
    if ((fed & only(each->at.number)) != 0) each->channel->flush();
  }
  return total;
}

/// The next part of a slice, as long as there is room; returns how long.
std::uint32_t engine::send_part(channel_state& over, departure next, std::uint64_t room) {
  auto& op = *next.of;
  auto& out = *op.out;
  const auto length = op.slices.length_of(next.index);
  path::slice_part part{next.done, length - next.done};
  auto& rail = over.over->rail;
  const auto allowed = rail.under_way().room_for(over.under_way);
  room = std::min(room, allowed);
  if (part.length > room) {
    const auto less = std::max<std::uint64_t>(room - room % lanes::budget::grain, lanes::budget::grain);
    part.length = static_cast<std::uint32_t>(std::min<std::uint64_t>(part.length, less));
  }
  const bool whole = part.end() == length;
  const bool held = allowed < part.length + lanes::budget::grain; // a grain goes where less is allowed
  const bool marked = rail.under_way().marks(over.under_way, part.length);
  const bool checked = op.terms.verify == verify_mode::slice;
  wire::frame_header header{.type = wire::frame_type::slice,
                            .flags = static_cast<std::uint16_t>((checked ? wire::flag_body_crc : 0) |
                                                                (marked ? wire::flag_tell : 0) |
                                                                (held ? wire::flag_held : 0)),
                            .body_length = length,
                            .epoch = over.channel->epoch(),
                            .received = received_,
                            .index = next.index,
                            .transfer = op.id,
                            .offset = op.slices.offset(next.index)};
  if (checked && out.crcs.empty()) next.crc = crc_of(out.pieces, header.offset + part.from, part.length, next.crc);
  if (checked) header.body_crc = out.crcs.empty() ? next.crc : out.crcs[next.index];
  over.channel->post_slice(header, part, out.pieces, out.granted);
  acknowledged_ = received_;
  ++out.posts;
  ++out.posts_on[over.at.number];
  if (part.from == 0) begun_to_leave(over, op, next.index);
  counts_of(op).bytes_sent += part.length;
  rail.released(over.under_way, part.length, marked);
  next.done = part.end();
  over.leaving = whole ? departure{} : next;
  return part.length;
}

/// From its first part on a slice is on the channel's account, and its transfer's.
void engine::begun_to_leave(channel_state& over, operation& op, std::uint32_t index) {
  auto& out = *op.out;
  const auto length = op.slices.length_of(index);
  out.carriers.set(index, over.at.number, op.slices.count());
  out.used |= only(over.at.number);
  out.unverified += length;
  over.unverified += length;
  ++counts_of(op).slices_sent;
}

void engine::sent(wire::place at, std::uint64_t transfer) {
  auto* op = find(transfer);
  if (op == nullptr || !op->out || op->out->posts_on[at.number] == 0 || op->terms.carries != at.carries) return;
  --op->out->posts_on[at.number];
  if (--op->out->posts > 0) return;
  if (!op->fencing()) return;
  if (op->now == phase::settling) return finish(*op);
  post_markers(*op);
  try_finish_stop(*op);
}

void engine::landed(wire::place at, std::uint64_t marks) {
  auto& state = channel_of(at);
  if (broken_ || state.channel == nullptr) return;
  if (marks > state.under_way.marks()) return broken("word of slices that were never sent");
  // It may have been shut: as the limits move, whether it is now does not tell.
  const bool was_shut = state.under_way.parked() || state.under_way.far() || state.under_way.to().was_limited();
  auto& rail = state.over->rail;
  rail.under_way().landed(state.under_way, marks, now_);
  if (sample_mark_ != 0 && marks >= sample_mark_ && &state == &message_channel()) {
    sample_mark_ = 0;
    rail.arrived(now_ - sampled_at_, now_);
  }
  if (was_shut) wake_lanes();
}

engine::lane_on_rail& engine::on_rail(lane_state& of, lanes::scheduler& rail) {
  const auto known = std::ranges::find(of.rails, &rail, [](const lane_on_rail& each) { return &each.rail; });
  if (known != of.rails.end()) return *known;
  const auto in = std::ranges::find(arrivals_, &rail, [](const arrivals& each) { return &each.rail; });
  return of.rails.emplace_back(of, in != arrivals_.end() ? *in : arrivals_.emplace_back(rail));
}

/// What one channel has under way of what the peer allows to all stands before the others: if it does not get on,
/// nothing that lands wakes them.
void engine::watch_allowance(const channel_state& of) {
  if (!of.under_way.to().was_limited() || recheck_at_ != time_point::max()) return;
  recheck_at_ = now_ + lanes::budget::patience / 2;
  host_.due_sooner();
}

/// Those with slices that a channel takes.
void engine::wake_lanes() {
  for (auto& state : lanes_) {
    for (const auto& each : state.channels) {
      if (each->channel == nullptr || !each->over->is_held_up()) continue;
      may_send(*each) ? each->over->make_ready() : watch_allowance(*each);
    }
  }
}

void engine::writable(wire::place at) {
  auto& state = channel_of(at);
  if (may_send(state) && state.over->is_held_up()) state.over->make_ready();
}

void engine::progress_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  const auto ranges = wire::decode_ranges(body);
  if (!ranges) return broken(ranges.error().where());
  auto* op = find(header.transfer);
  if (op == nullptr || !op->out || op->now != phase::moving) return;
  for (std::size_t i = 0; i < ranges->size(); ++i) {
    const auto range = (*ranges)[i];
    const bool inside = range.first < op->slices.count() && range.count <= op->slices.count() - range.first;
    if (!inside) return broken("progress beyond the transfer's slices");
    range.refused ? slices_refused(*op, range) : slices_verified(*op, range);
    op = find(header.transfer); // a refusal may have ended it
    if (broken_ || op == nullptr || op->now != phase::moving) return;
  }
  sender_progressed(*op);
}

void engine::slices_verified(operation& op, const wire::slice_range& range) {
  auto& out = *op.out;
  for (auto index = range.first; index < range.first + range.count; ++index) {
    if (index >= out.next) return broken("progress of slices that were never sent");
    if (!out.verified.set(index)) continue;
    no_longer_unverified(op, index);
    out.verified_bytes += op.slices.length_of(index);
    counts_of(op).bytes_delivered += op.slices.length_of(index);
  }
  op.last_progress = now_;
}

void engine::no_longer_unverified(operation& op, std::uint32_t index) {
  const auto take = [length = op.slices.length_of(index)](std::uint64_t& from) {
    from -= std::min<std::uint64_t>(from, length);
  };
  take(op.out->unverified);
  take(state_of(op).channels[op.out->carriers.of(index)]->unverified);
}

/// Whether parts of a slice that was given away are still to go.
bool engine::is_leaving(operation& op, std::uint32_t index) noexcept {
  const auto& leaving = state_of(op).channels[op.out->carriers.of(index)]->leaving;
  return leaving.of == &op && leaving.index == index;
}

void engine::slices_refused(operation& op, const wire::slice_range& range) {
  auto& out = *op.out;
  for (auto index = range.first; index < range.first + range.count; ++index) {
    if (index >= out.next || out.verified.test(index) || is_leaving(op, index)) {
      return broken("refusal of slices that are not under way");
    }
    const auto length = op.slices.length_of(index);
    const auto where = fmt::format("slice {} at offset {}", index, op.slices.offset(index));
    // The receiver's check failed: ours tells whether the bytes were bad before they left.
    const bool rotten = !out.crcs.empty() && crc_of(out.pieces, op.slices.offset(index), length) != out.crcs[index];
    if (rotten) return stop(op, error(errc::checksum_mismatch, where + ": stored"));
    if (++op.refused > most_refusals) return stop(op, error(errc::checksum_mismatch, where + ": wire"));
    no_longer_unverified(op, index);
    out.again.push_back(index);
    ++op.ending.resent;
    ++counters_.slices_resent;
  }
}

void engine::sender_progressed(operation& op) {
  auto& out = *op.out;
  if (!out.verified.full()) return make_ready(op);
  op.ending.bytes = op.slices.length;
  if (!op.ours) return succeed(op); // a read: its bytes were the answer
  op.now = phase::settling;
  schedule(op);
}

/// When the peer has fenced a channel that was lost: what it carried and nobody verified goes again.
void engine::resend_after_fence(channel_state& of) {
  const bool released = of.stranded && of.fenced_there >= of.stranded_epoch;
  if (released) of.stranded = false;
  for (auto& [id, op] : operations_) {
    if (op.terms.carries != of.at.carries || !op.out) continue;
    if (released) op.out->used &= static_cast<channel_set>(~only(of.at.number));
    if (op.now != phase::moving) continue;
    if (released) collect_missing(op, of.at.number);
    make_ready(op);
  }
}

/// What the channel in this place carried.
void engine::collect_missing(operation& op, std::uint8_t number) {
  auto& out = *op.out;
  // Those that were refused on it are among what follows.
  std::erase_if(out.again, [&out, number](std::uint32_t index) {
    return out.carriers.of(index) == number || out.verified.test(index);
  });
  const auto others = out.again.size();
  out.unverified = 0;
  for (auto index = out.next; index-- > 0;) {
    if (out.verified.test(index)) continue;
    if (out.carriers.of(index) == number) {
      out.again.push_back(index);
    } else {
      out.unverified += op.slices.length_of(index);
    }
  }
  for (std::size_t i = 0; i < others; ++i) out.unverified -= op.slices.length_of(out.again[i]);
  const auto found = out.again.size() - others;
  op.ending.resent += static_cast<std::uint32_t>(found);
  counters_.slices_resent += found;
}

std::uint32_t engine::crc_of(const memory::piece_list& pieces, std::uint64_t offset, std::uint64_t length,
                             std::uint32_t crc) {
  pieces.for_each(offset, length, [&crc](std::span<const std::byte> part) { crc = crc32c(part, crc); });
  return crc;
}

} // namespace weft::links
