// Numbered messages: posting them, checking what arrives, and what each does.
#include "base/crc32c.hpp"
#include "base/printable.hpp"
#include "link/engine.hpp"

#include <fmt/format.h>

namespace weft::links {
namespace {

/// Messages after which the peer is told that they arrived, even when nothing else goes there: half of the smallest
/// window that a peer may have.
constexpr std::uint32_t acknowledge_after = 8;
/// Messages that a peer may send before any of them is answered or acknowledged: the largest window that it may have.
constexpr std::size_t largest_window = 65536;
/// Of granted memory, over all operations of a link's engine: 24 bytes each, and a run of thousands takes a peer 30.
constexpr std::uint64_t most_kept_pieces = 1 << 20;

} // namespace

void engine::broken(std::string what) {
  if (std::exchange(broken_, true)) return;
  host_.protocol_broken(error(errc::protocol_error, std::move(what)));
}

/// A realtime message, somebody waits for it: the first of a batch does not wait for the end of the batch, and what is
/// left to do here is done while it travels. The others go together.
void engine::hurry() {
  if (!carries_realtime() || std::exchange(hurried_, true)) return;
  post_messages();
  if (auto* over = message_channel().channel; over != nullptr) over->flush();
}

void engine::post_messages() {
  auto& state = message_channel();
  if (state.channel == nullptr) {
    if (!outbox_.empty()) want_channel(state);
    return;
  }
  if (state.closing) return;
  while (auto* message = outbox_.next()) {
    auto& header = message->header;
    header.body_length = static_cast<std::uint32_t>(message->body.size());
    if (header.body_length > 0 && header.flags == 0) {
      header.flags = wire::flag_body_crc;
      header.body_crc = crc32c(message->body);
    }
    header.epoch = state.channel->epoch();
    header.received = received_;
    auto framed = header;
    const bool sampled = samples(state);
    if (sampled) framed.flags |= wire::flag_tell;
    tell_allowance(framed);
    if (!state.channel->post_message(framed, message->body)) return;
    if (tells_allowance(framed.type)) ++told_of_;
    if (sampled) {
      state.over->rail.under_way().released(state.under_way, header.body_length, true, now_);
      sample_mark_ = state.under_way.marks();
      sampled_at_ = now_;
    }
    // These and slices (the worker sees to them) make a crowd; a link that is opened has nobody waiting.
    if (carries_realtime()) state.over->rail.board().seen(now_);
    acknowledged_ = received_;
    outbox_.posted();
    ++counters_.messages_sent;
  }
  if (received_ - acknowledged_ < acknowledge_after) return;
  const wire::frame_header header{
      .type = wire::frame_type::acknowledge, .epoch = state.channel->epoch(), .received = received_};
  if (state.channel->post_message(header, {})) acknowledged_ = received_;
}

/// Whether the next message is to tell of its arrival, so that it is known how realtime traffic fares.
bool engine::samples(const channel_state& over) const noexcept {
  if (!carries_realtime() || over.can.one_sided || sample_mark_ != 0) return false;
  return over.under_way.takes_mark() && now_ - sampled_at_ >= over.over->rail.board().sample_every(now_);
}

/// Whether others follow how its messages fare.
bool engine::carries_realtime() const noexcept {
  return lanes_.front().on == lane::realtime;
}

bool engine::tells_allowance(wire::frame_type type) noexcept {
  return type == wire::frame_type::request || type == wire::frame_type::grant || type == wire::frame_type::progress;
}

/// What the peer may have under way on a rail: that of one channel now, and of the next one the next time.
void engine::tell_allowance(wire::frame_header& framed) noexcept {
  if (!tells_allowance(framed.type) || carries_realtime()) return;
  if (told_of_ >= up_.size()) told_of_ = 0;
  const auto& of = *up_[told_of_]; // what brings this message is one of them
  auto& rail = of.over->rail;
  framed.index = of.at.index();
  framed.offset = rail.board().rail();
  framed.code = static_cast<std::uint32_t>(rail.coming_in().allowance(now_) / lanes::budget::grain);
}

void engine::hear_allowance(const wire::frame_header& header) {
  if (!wire::place::is_one(header.index) || header.offset >= peer_rails_.size()) {
    return broken("what may be under way to a rail that is none");
  }
  const bool first = !std::exchange(knows_rails_, true);
  auto& to = peer_rails_[header.offset];
  bool was_limited = to.was_limited();
  to.allow(header.code * lanes::budget::grain, now_);
  const auto about = wire::place::at(header.index);
  for (auto& state : lanes_) {
    for (const auto& each : state.channels) {
      // The first word is of all of them, until there is one of each.
      if (!first && each->at != about) continue;
      was_limited |= each->under_way.to().was_limited(); // it leaves room there
      each->under_way.lead_to(to);
    }
  }
  if (was_limited) wake_lanes();
}

void engine::flush() {
  complete_ended();
  for (const auto id : reports_) {
    auto* op = find(id);
    if (op != nullptr && op->in && !op->in->news.empty()) push_progress(*op);
  }
  reports_.clear();
  hurried_ = false;
  post_messages();
}

void engine::flush_channels() {
  for (auto& state : lanes_) {
    for (const auto& each : state.channels) {
      if (each->channel != nullptr) each->channel->flush();
    }
  }
  renew_used();
}

void engine::frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) {
  auto& state = channel_of(at);
  if (broken_) return;
  if (state.channel == nullptr || header.epoch != state.channel->epoch()) {
    return broken("frame of another channel's epoch");
  }
  if ((header.flags & wire::flag_body_crc) != 0 && crc32c(body) != header.body_crc) {
    return close(state); // damaged on the way: the peer sends it again on the next channel
  }
  if (!outbox_.acknowledge(header.received)) return broken("acknowledgement of messages that were never sent");
  if (header.type == wire::frame_type::acknowledge) return;
  if (header.type == wire::frame_type::marker) return marker_arrived(at, header);
  if (!wire::is_numbered(header.type)) return broken("session frame on a data channel");
  if (state.closing) return; // one before it may have been dropped: the next channel brings them all again
  if (&state != &message_channel()) return broken("message on a channel for slices");

  const auto ahead = header.number - received_;
  if (ahead == 0 || ahead > 0x80000000) {
    ++counters_.messages_repeated;
    return;
  }
  if (ahead != 1) return broken(fmt::format("message {} after {}", header.number, received_));
  ++received_;
  message_arrived(header, body);
}

void engine::message_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  if (tells_allowance(header.type) && !carries_realtime()) hear_allowance(header);
  if (broken_) return;
  switch (header.type) {
    case wire::frame_type::request: return request_arrived(header, body);
    case wire::frame_type::grant: return grant_arrived(header, body);
    case wire::frame_type::response: return response_arrived(header, body);
    case wire::frame_type::progress: return progress_arrived(header, body);
    case wire::frame_type::cancel: return cancel_arrived(header);
    case wire::frame_type::channel_fenced: return fence_arrived(header);
    default: return;
  }
}

void engine::request_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  wire::reader in(body);
  const auto terms = wire::decode_request(in);
  if (!terms) return broken(terms.error().where());
  const bool from_peer = (header.transfer & ~id_bit_) != 0 && (header.transfer >> 63) != (id_bit_ >> 63);
  if (!from_peer || find(header.transfer) != nullptr) return broken("request under an id that is not free");
  if (state_of(terms->carries) == nullptr) return broken("request for a lane of another thread");
  if (!acknowledges()) return broken("requests without acknowledgements");
  auto granted = decode_grant(in.take(terms->grant_length), terms->length);
  if (!granted) return broken(granted.error().where());
  if (refuse_request(header.transfer, *terms, *granted)) return;

  auto& op = add(header.transfer);
  ++theirs_begun_;
  ++counters_.operations_begun;
  op.id = header.transfer;
  op.now = phase::asked;
  op.terms = *terms;
  op.slices = {terms->length, terms->slice_size};
  keep_grant(op, *granted);
  op.granted = std::move(*granted);
  op.stall = limits_.stall_default;
  const auto deadline = terms->time_left_ns == 0
                            ? time_point::max()
                            : deadline_after(now_, std::chrono::nanoseconds(std::min<std::uint64_t>(
                                                       terms->time_left_ns, std::chrono::nanoseconds::max().count())));
  if (header.argument != 0) op.wanted_by = deadline;
  host_.operation_arrived({op.id, *terms, in.rest(), deadline});
}

/// An honest peer acknowledges as it goes: another one would have what it is told kept without end.
bool engine::acknowledges() const noexcept {
  return outbox_.size() <= 2 * largest_window + 4 * std::size_t{limits_.operations_max};
}

/// Only channels that write unasked look at what a grant names.
result<memory::granted_list> engine::decode_grant(std::span<const std::byte> body, std::uint64_t length) const {
  return names_memory_ ? wire::decode_grant(body, length) : memory::granted_list();
}

void engine::keep_grant(operation& op, const memory::granted_list& granted) noexcept {
  op.granted_pieces = granted.pieces();
  granted_pieces_ += op.granted_pieces;
}

bool engine::refuse_request(operation_id id, const wire::request& terms, const memory::granted_list& granted) {
  // Twice what a peer may have outstanding: those that have ended there may not have ended here yet.
  const auto limit = 2 * std::uint64_t{limits_.operations_max};
  if (granted_pieces_ + granted.pieces() > most_kept_pieces) {
    push_response(id, errc::limit_exceeded, fmt::format("{} pieces of memory are granted already", granted_pieces_), {},
                  false);
    return true;
  }
  const auto longest = 2 * limits_.operations_bytes.value();
  if (theirs_begun_ < limit && terms.length <= longest) return false;
  push_response(
      id, errc::limit_exceeded,
      fmt::format("a transfer of {} bytes beside {} other operations of its sender; at most {} of {} bytes each "
                  "are taken (operations.max, operations.bytes)",
                  terms.length, theirs_begun_, limit, longest),
      {}, false);
  return true;
}

void engine::grant_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  auto* op = find(header.transfer);
  if (op == nullptr || !op->ours || !op->out || op->now != phase::asked) return;
  if (header.argument == 0) return broken("grant without a window");
  auto granted = decode_grant(body, op->slices.length);
  if (!granted) return broken(granted.error().where());
  if (granted_pieces_ + granted->pieces() > most_kept_pieces) {
    return stop(*op,
                error(errc::limit_exceeded, fmt::format("the peer has granted {} pieces of memory already, at most "
                                                        "{} are kept; write longer pieces, or fewer at once",
                                                        granted_pieces_, most_kept_pieces)));
  }
  keep_grant(*op, *granted);
  op->out->granted = std::move(*granted);
  op->now = phase::moving;
  op->last_progress = now_;
  op->out->window = header.argument;
  schedule(*op);
  if (op->slices.length == 0) return sender_progressed(*op);
  make_ready(*op);
}

void engine::response_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  auto* op = find(header.transfer);
  if (op == nullptr || !op->ours || op->answered) return;
  wire::reader in(body);
  const auto where = in.text(wire::longest_where);
  if (!in.ok()) return broken("malformed response");
  const auto payload = in.rest();
  op->answered = true;
  if (header.argument == 0) op->carried_by = 0; // no slice was sent: there is nothing to fence
  const auto code = header.code == 0 ? error_code{} : wire::reason_of(header.code, errc::handler_failed);
  if (op->now == phase::stopping) return try_finish_stop(*op); // its end is decided; nobody waits for more
  if (code) {
    stop(*op, error(to_errc(code), printable(where)));
    return;
  }
  const bool data_open = op->slices.length > 0 && op->now != phase::settling;
  if (data_open) return broken("success of a transfer without its bytes");
  op->ending.payload.assign(payload.begin(), payload.end());
  op->ending.bytes = op->slices.length;
  succeed(*op);
}

void engine::cancel_arrived(const wire::frame_header& header) {
  auto* op = find(header.transfer);
  if (op == nullptr || op->ours) return;
  op->peer_gone = true;
  // Whoever is to answer it holds what it brought: until then it counts, or a peer could have that pile up.
  if (op->now == phase::asked) return post_markers(*op);
  const auto why = wire::reason_of(header.code, errc::cancelled);
  if (!op->fencing()) stop(*op, error(errc::cancelled, fmt::format("the peer gave it up: {}", name(why))));
}

} // namespace weft::links
