// The life of an operation: start, answers to the peer's, the end.
#include "link/engine.hpp"

#include <fmt/format.h>

namespace weft::links {
namespace {

constexpr std::uint64_t accepting_end = std::uint64_t{1} << 63;
/// Ended operations that are kept for reuse.
constexpr std::size_t most_spare = 64;

} // namespace

engine::engine(host& actions, const tunables& limits, std::span<const lane> lanes, bool dialled)
    : host_(actions), limits_(limits), id_bit_(dialled ? 0 : accepting_end), outbox_(limits.message_window) {
  for (const auto on : lanes) {
    by_lane_[static_cast<std::size_t>(on)] = &lanes_.emplace_back(*this, on);
    std::ignore = channel_of(on);
  }
}

engine::~engine() {
  for (auto& state : lanes_) {
    for (auto& each : state.rails) each.rail.remove(state.on, each);
    // Only what is registered: the last handle may go on another thread than the rail's, with all channels down.
    for (const auto& each : state.channels) {
      if (each->channel != nullptr) each->over->rail.under_way().remove(each->under_way);
    }
  }
}

engine::channel_state& engine::channel_of(wire::place at) {
  auto& all = state_of(at.carries)->channels;
  if (at.number < all.size()) return *all[at.number];
  while (all.size() <= at.number) {
    const auto next = static_cast<std::uint8_t>(all.size());
    // Where the others lead to, as long as the peer has not said otherwise.
    auto& to = lanes_.front().channels.empty() ? peer_rails_.front() : message_channel().under_way.to();
    all.push_back(std::make_unique<channel_state>(to));
    all.back()->at = {at.carries, next};
  }
  return *all[at.number];
}

std::size_t engine::channels_of(const tunables& limits, lane on) noexcept {
  return std::min<std::size_t>(limits.lane_bulk_channels, wire::most_channels_of(on));
}

operation* engine::find(operation_id id) noexcept {
  const auto found = operations_.find(id);
  return found == operations_.end() ? nullptr : &found->second;
}

std::optional<phase> engine::phase_of(operation_id id) const noexcept {
  const auto found = operations_.find(id);
  return found == operations_.end() ? std::nullopt : std::optional(found->second.now);
}

operation& engine::add(operation_id id) {
  if (spare_.empty()) return operations_[id];
  auto node = std::move(spare_.back());
  spare_.pop_back();
  node.key() = id;
  return operations_.insert(std::move(node)).position->second;
}

bool engine::fits(const operation& op) const noexcept {
  const bool bytes_fit = ours_begun_ == 0 || ours_bytes_ + op.slices.length <= limits_.operations_bytes.value();
  // What ended while the way was blocked left its messages: they count, or requests and cancels would pile up.
  const auto most_messages = std::size_t{limits_.operations_max} + limits_.message_window;
  return ours_begun_ < limits_.operations_max && bytes_fit && outbox_.size() < most_messages;
}

operation_id engine::start(operation_request&& asked, std::unique_ptr<completion> owner) {
  const auto id = next_id_++ | id_bit_;
  ++counters_.operations_begun;
  auto& op = add(id);
  op.id = id;
  op.ours = true;
  op.owner = std::move(owner);
  op.deadline = asked.deadline;
  if (asked.by_deadline) op.wanted_by = asked.deadline;
  op.stall = asked.kind == wire::operation_kind::request ? duration::max() : asked.stall;
  op.keep_progress = asked.keep_progress;
  op.slices = {asked.pieces.length(), static_cast<std::uint32_t>(limits_.slice_size.value())};
  op.terms = {.service = asked.service,
              .kind = asked.kind,
              .carries = asked.carries,
              .verify = asked.verify,
              .slice_size = op.slices.size,
              .length = op.slices.length,
              .window = limits_.transfer_window.value()};
  if (asked.kind == wire::operation_kind::write) {
    open_sender(op, std::move(asked.pieces), std::move(asked.slice_crcs), 0);
  } else if (asked.kind == wire::operation_kind::read) {
    open_receiver(op, std::move(asked.pieces), op.terms.window);
  }
  const auto most = wire::largest_message - wire::request_fixed_size - (op.in ? wire::most_grant_size : 0);
  const auto too_large = asked.payload.size() > most;
  if (over_ || too_large) {
    end_early(op, over_ ? *over_ : error(errc::too_large, "the request does not fit one frame"));
    return 0;
  }
  if (fits(op) && waiting_.empty()) {
    begin(op, asked.payload);
  } else if (asked.wait_when_full) {
    op.waiting_payload.assign(asked.payload.begin(), asked.payload.end());
    waiting_.push_back(id);
    schedule(op);
  } else {
    end_early(op, error(errc::queue_full,
                        fmt::format("{} operations of {} bytes are outstanding, {} messages not acknowledged",
                                    ours_begun_, ours_bytes_, outbox_.size())));
    return 0;
  }
  return id;
}

void engine::begin(operation& op, std::span<const std::byte> payload) {
  ++ours_begun_;
  ours_bytes_ += op.slices.length;
  op.last_progress = now_;
  if (op.deadline != time_point::max()) {
    const auto left = std::max<duration>(op.deadline - now_, std::chrono::nanoseconds(1)); // 0 says that there is none
    op.terms.time_left_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(left).count());
  }
  auto& message = push(wire::frame_type::request, op.id);
  message.header.argument = op.wanted_by != time_point::max() ? 1 : 0;
  grant_.clear();
  if (op.in && names_memory_) wire::encode_grant(op.in->pieces, grant_);
  op.terms.grant_length = static_cast<std::uint32_t>(grant_.size());
  message.body.reserve(wire::request_fixed_size + grant_.size() + payload.size());
  wire::encode(op.terms, message.body);
  message.body.insert(message.body.end(), grant_.begin(), grant_.end());
  message.body.insert(message.body.end(), payload.begin(), payload.end());
  hurry();
  op.now = op.in ? phase::moving : phase::asked;
  schedule(op);
}

void engine::begin_waiting() {
  while (!waiting_.empty()) {
    auto* op = find(waiting_.front());
    if (op != nullptr && op->now == phase::queued) {
      if (!fits(*op)) return;
      begin(*op, std::exchange(op->waiting_payload, {}));
    }
    waiting_.pop_front();
  }
}

void engine::cancel(operation_id id) {
  auto* op = find(id);
  if (op == nullptr || !op->ours || op->fencing()) return;
  stop(*op, error(errc::cancelled));
}

/// The peer has given up what its handler would now begin.
bool engine::is_gone(const operation* op) noexcept {
  return op == nullptr || op->now != phase::asked || op->peer_gone;
}

void engine::give_up(operation* op, std::unique_ptr<completion> owner) {
  ended_.push_back({std::move(owner), {.code = errc::cancelled}});
  if (op != nullptr && op->now == phase::asked) finish(*op);
}

void engine::accept_write(operation_id id, memory::piece_list pieces, std::unique_ptr<completion> owner) {
  auto* op = find(id);
  if (is_gone(op)) return give_up(op, std::move(owner));
  op->owner = std::move(owner);
  op->now = phase::moving;
  op->last_progress = now_;
  open_receiver(*op, std::move(pieces), limits_.transfer_window.value());
  auto& grant = push(wire::frame_type::grant, id);
  grant.header.argument = op->in->window;
  if (names_memory_) wire::encode_grant(op->in->pieces, grant.body);
  schedule(*op);
  if (op->in->verified.full()) receiver_progressed(*op);
}

void engine::supply_read(operation_id id, memory::piece_list pieces, std::vector<std::uint32_t> crcs,
                         std::unique_ptr<completion> owner) {
  auto* op = find(id);
  if (is_gone(op)) return give_up(op, std::move(owner));
  op->owner = std::move(owner);
  op->now = phase::moving;
  op->last_progress = now_;
  open_sender(*op, std::move(pieces), std::move(crcs), op->terms.window);
  op->out->granted = std::move(op->granted);
  schedule(*op);
  if (op->slices.length > 0) return make_ready(*op);
  // No bytes can show that a read of nothing succeeded.
  push_response(id, {}, {}, {}, false);
  finish(*op);
}

void engine::respond(operation_id id, error_code code, std::string_view where, std::span<const std::byte> payload) {
  auto* op = find(id);
  if (op == nullptr || op->ours || op->answered) return;
  op->answered = true;
  const bool too_soon = op->terms.kind != wire::operation_kind::request && op->now != phase::settling;
  if (!code && too_soon) {
    code = errc::handler_failed;
    where = "success before the data was verified";
  }
  const bool nobody_waits = op->peer_gone && op->now == phase::asked;
  if (!nobody_waits) push_response(id, code, where, payload, op->now != phase::asked);
  if (op->now == phase::moving) {
    stop(*op, error(to_errc(code), std::string(where)));
  } else if (op->now != phase::stopping) {
    finish(*op);
  }
}

void engine::push_response(operation_id id, error_code code, std::string_view where, std::span<const std::byte> payload,
                           bool data_sent) {
  auto& message = push(wire::frame_type::response, id);
  message.header.argument = data_sent ? 1 : 0;
  message.header.code = code ? static_cast<std::uint32_t>(to_errc(code)) : 0;
  where = where.substr(0, wire::longest_where);
  message.body.reserve(sizeof(std::uint16_t) + where.size() + payload.size());
  wire::writer(message.body).text(where);
  message.body.insert(message.body.end(), payload.begin(), payload.end()); // not zeroed first, as by the writer
  hurry();
}

void engine::tell_owner(operation& op) {
  if (op.ending.code) ++counters_.operations_failed;
  if (op.ending.code && op.keep_progress && (op.out || op.in)) {
    op.ending.verified_slices = std::move(op.out ? op.out->verified : op.in->verified);
    op.ending.slice_size = op.slices.size;
  }
  if (op.owner) ended_.push_back({std::move(op.owner), std::move(op.ending)});
  op.ending.code.clear(); // it is told once, and counted once
}

void engine::finish(operation& op) {
  forget_in_lane(op);
  tell_owner(op);
  timers_.remove(op);
  if (!op.ours) {
    --theirs_begun_;
  } else if (op.now != phase::queued) {
    --ours_begun_;
    ours_bytes_ -= op.slices.length;
  }
  granted_pieces_ -= op.granted_pieces;
  ++counters_.operations_ended;
  // It lets go of memory now; the rest of what it holds goes when its node is made new.
  op.out.reset();
  close_receiver(op);
  used_.push_back(operations_.extract(op.id));
}

/// Makes ended operations ready for reuse. Behind what the batch sends: whoever is answered does not wait for it.
void engine::renew_used() {
  for (auto& node : used_) {
    if (spare_.size() == most_spare) break;
    std::destroy_at(&node.mapped());
    std::construct_at(&node.mapped());
    spare_.push_back(std::move(node));
  }
  used_.clear();
}

void engine::complete_ended() {
  // An owner may start operations or answer others: what ends by that is completed in the same batch.
  do {
    // Its own: an owner may end the link, which completes the others from in here.
    auto batch = std::exchange(spare_ended_, {});
    batch.swap(ended_);
    for (auto& [owner, result] : batch) owner->complete(std::move(result));
    batch.clear();
    spare_ended_ = std::move(batch);
    begin_waiting();
  } while (!ended_.empty());
}

} // namespace weft::links
