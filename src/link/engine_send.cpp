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
  auto& out = op.out.emplace();
  out.pieces = std::move(pieces);
  out.crcs = std::move(crcs);
  out.verified = bitmap(op.slices.count());
  out.window = window;
}

/// Puts it into its lane's round if it has slices that may go.
void engine::make_ready(operation& op) {
  auto& out = *op.out;
  auto& state = state_of(op);
  if (state.channel == nullptr) want_channel(state);
  if (state.channel != nullptr && op.slices.length > 0) {
    const auto needs = state.channel->can();
    if (needs.needs_grant && out.granted.rails() <= needs.key) return broken("a grant without a key for the channel");
  }
  const bool window_open = out.unverified < out.window;
  if (op.now != phase::moving || !out.has_slices() || !window_open) return;
  state.round.push_back(op);
  if (may_send(state)) rail_.ready(state.on, state);
}

/// A slice may go to the lane's channel once the peer has fenced all that carried slices before.
bool engine::may_send(const lane_state& on) const noexcept {
  return on.channel != nullptr && !on.closing && !on.stranded;
}

std::uint64_t engine::send_slices(lane_state& on, std::uint64_t quantum) {
  std::uint64_t total = 0;
  operation* served = nullptr;
  while (total < quantum && !on.round.empty() && may_send(on) && on.channel->takes_slices()) {
    served = nullptr;
    auto& op = on.round.front();
    auto& out = *op.out;
    on.round.remove(op);
    if (!out.has_slices()) continue;
    const bool repeat = !out.again.empty();
    const auto index = repeat ? out.again.back() : out.next;
    const auto length = op.slices.length_of(index);
    if (out.unverified > 0 && out.unverified + length > out.window) continue;
    if (!send_slice(on, op, index)) {
      on.round.push_front(op);
      break;
    }
    if (repeat) {
      out.again.pop_back();
    } else {
      ++out.next;
    }
    total += length;
    // It goes on until the quantum is spent: transfers that end one after the other keep a path fuller than some that
    // all end, and are begun anew, at once.
    if (!out.has_slices() || out.unverified >= out.window) continue;
    on.round.push_front(op);
    served = &op;
  }
  if (served != nullptr) {
    on.round.remove(*served);
    on.round.push_back(*served);
  }
  if (total > 0) on.channel->flush();
  return total;
}

bool engine::send_slice(lane_state& on, operation& op, std::uint32_t index) {
  auto& out = *op.out;
  const bool checked = op.terms.verify == verify_mode::slice;
  wire::frame_header header{.type = wire::frame_type::slice,
                            .flags = checked ? wire::flag_body_crc : std::uint16_t{0},
                            .body_length = op.slices.length_of(index),
                            .epoch = on.channel->epoch(),
                            .received = received_,
                            .index = index,
                            .transfer = op.id,
                            .offset = op.slices.offset(index)};
  if (checked) {
    header.body_crc = out.crcs.empty() ? crc_of(out.pieces, header.offset, header.body_length) : out.crcs[index];
  }
  const auto taken = on.channel->post_slice(header, out.pieces, out.granted);
  if (taken == path::posted::refused) return false;
  acknowledged_ = received_;
  if (taken == path::posted::pending) ++out.posts;
  out.unverified += header.body_length;
  ++counters_.slices_sent;
  return true;
}

void engine::sent(lane on, std::uint64_t transfer) {
  auto* op = find(transfer);
  if (op == nullptr || !op->out || op->out->posts == 0 || op->terms.carries != on) return;
  if (--op->out->posts > 0) return;
  if (!op->fencing()) return;
  if (op->now == phase::settling) return finish(*op);
  post_marker(*op);
  try_finish_stop(*op);
}

void engine::writable(lane on) {
  auto& state = *state_of(on);
  if (!state.round.empty() && may_send(state)) rail_.ready(on, state);
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
    if (out.verified.set(index)) out.unverified -= std::min<std::uint64_t>(out.unverified, op.slices.length_of(index));
  }
  op.last_progress = now_;
}

void engine::slices_refused(operation& op, const wire::slice_range& range) {
  auto& out = *op.out;
  for (auto index = range.first; index < range.first + range.count; ++index) {
    if (index >= out.next || out.verified.test(index)) return broken("refusal of slices that are not under way");
    const auto length = op.slices.length_of(index);
    const auto where = fmt::format("slice {} at offset {}", index, op.slices.offset(index));
    // The receiver's check failed: ours tells whether the bytes were bad before they left.
    const bool rotten = !out.crcs.empty() && crc_of(out.pieces, op.slices.offset(index), length) != out.crcs[index];
    if (rotten) return stop(op, error(errc::checksum_mismatch, where + ": stored"));
    if (++op.ending.refused > most_refusals) return stop(op, error(errc::checksum_mismatch, where + ": wire"));
    out.unverified -= std::min<std::uint64_t>(out.unverified, length);
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

/// When the peer has fenced the channels that were lost: what they carried and nobody verified goes again.
void engine::resend_after_fence(lane_state& on) {
  const bool released = on.stranded && on.fenced_there >= on.stranded_epoch;
  if (released) on.stranded = false;
  for (auto& [id, op] : operations_) {
    if (op->terms.carries != on.on || !op->out || op->now != phase::moving) continue;
    if (released) collect_missing(*op);
    make_ready(*op);
  }
}

void engine::collect_missing(operation& op) {
  auto& out = *op.out;
  out.again.clear();
  out.unverified = 0;
  for (auto index = out.next; index-- > 0;) {
    if (!out.verified.test(index)) out.again.push_back(index);
  }
  op.ending.resent += static_cast<std::uint32_t>(out.again.size());
  counters_.slices_resent += out.again.size();
}

std::uint32_t engine::crc_of(const memory::piece_list& pieces, std::uint64_t offset, std::uint64_t length) {
  std::uint32_t crc = 0;
  pieces.for_each(offset, length, [&crc](std::span<const std::byte> part) { crc = crc32c(part, crc); });
  return crc;
}

} // namespace weft::links
