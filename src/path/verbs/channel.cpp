#include "path/verbs/channel.hpp"

#include <boost/asio/post.hpp>

#include <arpa/inet.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

/// Posted messages that may wait before more are refused.
constexpr std::size_t most_staged = 512 * 1024;
/// Bytes of slices whose memory may be read at once.
constexpr std::uint64_t most_slice_bytes = 8 * 1024 * 1024;
/// One request of so many reports its end, beside the last of each batch that reads memory.
constexpr std::uint64_t signal_every = 16;
/// Requests kept free: one for the fence, and one for what a message or a credit needs among many writes.
constexpr std::uint64_t kept_for_sends = 2;
constexpr std::uint64_t kept_for_fence = 1;
/// Credits that one peer gets at most.
constexpr std::uint32_t most_credits = 64;

/// Counters wrap: whether `a` is ahead of `b`.
bool ahead(std::uint32_t a, std::uint32_t b) noexcept {
  return static_cast<std::int32_t>(a - b) > 0;
}

} // namespace

channel::channel(std::unique_ptr<endpoint> connected, boost::asio::any_io_executor thread, wire::place at,
                 std::uint32_t epoch, listener& events, driver& owner, disposer dispose, const tunables& limits)
    : endpoint_(std::move(connected)), queues_(endpoint_->shared), by_(queues_->on().by),
      peer_rail_(endpoint_->peer_rail), place_(at), epoch_(epoch), events_(events), driver_(owner),
      dispose_(std::move(dispose)), fence_limit_(limits.verbs_fence_limit), silence_limit_(limits.verbs_silence_limit),
      parts_(most_batched * endpoint_->most_parts), slots_(endpoint_->send_depth), may_send_(endpoint_->peer_credits),
      allowed_(queues::least_credits), owned_(queues::least_credits), timer_(std::move(thread)) {}

channel::~channel() {
  // A channel that was never attached, or whose thread has ended.
  if (endpoint_) dispose_(std::move(endpoint_), [] {});
}

void channel::attach() {
  attached_ = true;
  queues_->add(endpoint_->pair->qp_num, *this);
  endpoint_->on_event = [weak = weak_from_this(), thread = timer_.get_executor()](endpoint::event what,
                                                                                  const std::string& why) {
    boost::asio::post(thread, [weak, what, why] {
      if (const auto self = weak.lock()) self->in_batch([&] { self->happened(what, why); });
    });
  };
}

void channel::happened(endpoint::event what, const std::string& why) {
  switch (what) {
    case endpoint::event::established: return start();
    case endpoint::event::lost: return fail(errc::path_failed, why);
    case endpoint::event::last_request_reached: last_receive_known_ = true; return try_end_fence();
  }
}

void channel::start() {
  if (state_ != state::opening) return;
  state_ = state::open;
  // Shows the peer that the way works; the credit for returning credits carries it.
  std::ignore = send({});
  flush();
  tell_writable();
}

// Sending.

bool channel::post_message(const wire::frame_header& header, std::span<const std::byte> body) {
  const bool marker = header.type == wire::frame_type::marker;
  if (staged_.size() - staged_sent_ > (marker ? 4 * most_staged : most_staged)) {
    refused_ = true;
    return false;
  }
  std::array<std::byte, wire::header_size> encoded;
  wire::encode(header, encoded);
  staged_.insert(staged_.end(), encoded.begin(), encoded.end());
  staged_.insert(staged_.end(), body.begin(), body.end());
  return true;
}

bool channel::may_take_slices() const noexcept {
  return state_ == state::open && end_slice_ - first_slice_ < most_slices && slice_bytes_ < most_slice_bytes;
}

bool channel::takes_slices() const noexcept {
  const bool may = may_take_slices();
  refused_ |= !may;
  return may;
}

void channel::post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                         const memory::granted_list& granted) {
  assert(may_take_slices());
  slice(end_slice_++) = {.pieces = &pieces,
                         .granted = &granted,
                         .offset = header.offset + part.from,
                         .left = part.length,
                         .length = part.length,
                         .transfer = header.transfer,
                         .record_at = stream_at_ + staged_.size(),
                         .tells = (header.flags & wire::flag_tell) != 0};
  slice_bytes_ += part.length;
  if (part.end() < header.body_length) return;
  auto whole = header;
  whole.flags &= static_cast<std::uint16_t>(~wire::flag_tell);
  std::array<std::byte, wire::header_size> record;
  wire::encode(whole, record);
  staged_.insert(staged_.end(), record.begin(), record.end());
}

void channel::flush() {
  if (state_ != state::open || stuck_) return;
  renew_credits();
  write_slices();
  send_stream();
  if (owes_credits()) std::ignore = send({});
  post_batch();
  if (staged_sent_ == staged_.size() || staged_sent_ > most_staged) {
    staged_.erase(staged_.begin(), staged_.begin() + static_cast<std::ptrdiff_t>(staged_sent_));
    stream_at_ += staged_sent_;
    staged_sent_ = 0;
  }
}

void channel::write_slices() {
  for (; next_write_ != end_slice_; ++next_write_) {
    auto& next = slice(next_write_);
    while (next.left > 0) {
      if (room() <= kept_for_sends) return;
      write_some(next);
    }
    next.last_request = posted_;
  }
}

/// One WRITE: as much as is contiguous at the peer and fits one request here.
void channel::write_some(outgoing_slice& of) {
  const auto to = of.granted->at(of.offset, of.left, peer_rail_);
  auto& request = next_request();
  batch_reads_ = true;
  std::uint64_t gathered = 0;
  of.pieces->visit(of.offset, to.length, [&](std::span<std::byte> part, const registration* in) {
    assert(in != nullptr && "memory of a transfer is registered");
    request.sg_list[request.num_sge++] = {reinterpret_cast<std::uintptr_t>(part.data()),
                                          static_cast<std::uint32_t>(part.size()), in->keys[queues_->on().index].local};
    gathered += part.size();
    return static_cast<std::uint32_t>(request.num_sge) < endpoint_->most_parts;
  });
  request.opcode = IBV_WR_RDMA_WRITE;
  request.wr.rdma = {to.address, to.key};
  of.offset += gathered;
  of.left -= gathered;
}

/// What is staged, up to the record of the first slice that is not all posted.
void channel::send_stream() {
  const auto end =
      next_write_ == end_slice_ ? staged_.size() : static_cast<std::size_t>(slice(next_write_).record_at - stream_at_);
  while (staged_sent_ < end) {
    const auto length = std::min(end - staged_sent_, queues::slot_size);
    const bool has_credit = ahead(may_send_, sent_ + 1); // the last one is for credits
    if (!has_credit || !send(std::span(staged_).subspan(staged_sent_, length))) return;
    staged_sent_ += length;
  }
}

/// Posts one message, which also tells the peer its credits. False: it cannot go now.
bool channel::send(std::span<const std::byte> bytes) {
  if (room() <= kept_for_fence || !ahead(may_send_, sent_)) return false;
  const bool in_request = bytes.size() <= endpoint_->inline_bytes;
  auto* slot = in_request ? nullptr : queues_->take_send_slot(slot_count_);
  if (!in_request && slot == nullptr) {
    // One that has slots on their way hears of their end itself.
    if (slot_count_ == 0 && !std::exchange(starved_, true)) queues_->wake_later(weak_from_this());
    return false;
  }
  auto& request = next_request();
  allowed_ = came_ + owned_;
  fresh_ = 0;
  ++sent_;
  request.opcode = IBV_WR_SEND_WITH_IMM;
  request.imm_data = htonl(allowed_);
  const std::byte* from = bytes.data();
  if (in_request) {
    request.send_flags |= IBV_SEND_INLINE;
  } else {
    std::memcpy(slot, bytes.data(), bytes.size());
    slots_[(first_slot_ + slot_count_++) % slots_.size()] = {slot, posted_};
    batch_reads_ = true;
    from = slot;
  }
  request.num_sge = bytes.empty() ? 0 : 1;
  request.sg_list[0] = {reinterpret_cast<std::uintptr_t>(from), static_cast<std::uint32_t>(bytes.size()),
                        in_request ? 0 : queues_->send_key()};
  return true;
}

ibv_send_wr& channel::next_request() {
  if (batched_ == most_batched) post_batch();
  auto& request = batch_[batched_];
  request = {};
  request.wr_id = ++posted_;
  request.sg_list = &parts_[batched_ * endpoint_->most_parts];
  if (posted_ % signal_every == 0) signal(request);
  ++batched_;
  return request;
}

void channel::signal(ibv_send_wr& request) noexcept {
  request.send_flags |= IBV_SEND_SIGNALED;
  signalled_ = request.wr_id;
}

/// Rings the doorbell once for all of the batch.
void channel::post_batch() {
  if (batched_ == 0) return;
  if (stuck_) {
    batched_ = 0;
    return;
  }
  for (std::size_t i = 0; i + 1 < batched_; ++i) batch_[i].next = &batch_[i + 1];
  // Of requests that the device has copied nothing is waited for: their places in its queue come back with a later one.
  if (std::exchange(batch_reads_, false) || !watched_) signal(batch_[batched_ - 1]);
  batched_ = 0;
  ibv_send_wr* bad = nullptr;
  const int code = by_.post_send(endpoint_->pair.get(), batch_.data(), &bad);
  if (code == 0) {
    if (!watched_) watch();
    return;
  }
  stuck_ = true;
  // Not here: the engine is on the stack.
  boost::asio::post(timer_.get_executor(), [self = shared_from_this(), code] {
    self->in_batch([&] {
      self->fail(errc::path_failed,
                 fmt::format("rail {}: post_send: {}", self->queues_->on().name, std::strerror(code)));
    });
  });
}

void channel::wake() {
  starved_ = false;
  in_batch([] {}); // its end flushes
}

void channel::completed(const ibv_wc& completion) {
  driver_.batch_begins();
  if (completion.status == IBV_WC_SUCCESS) {
    retire(completion.wr_id);
  } else {
    failed(completion);
    if (state_ == state::fencing) {
      flushed_ |= completion.wr_id == last_flushed_;
      try_end_fence();
    }
  }
  driver_.batch_ends();
}

void channel::failed(const ibv_wc& completion) {
  if (state_ == state::closed || (state_ == state::fencing && completion.status == IBV_WC_WR_FLUSH_ERR)) return;
  // While fencing too: the peer may have told of a failure before the queue did, which alone knows its cause.
  driver_.channel_failed(place_, epoch_, error(errc::path_failed, describe(completion)));
}

/// Every request up to this one has ended.
void channel::retire(std::uint64_t request) {
  completed_ = std::max(completed_, request);
  while (slot_count_ > 0 && slots_[first_slot_].request <= completed_) {
    queues_->return_send_slot(slots_[first_slot_].slot);
    first_slot_ = (first_slot_ + 1) % slots_.size();
    --slot_count_;
  }
  while (first_slice_ != next_write_ && slice(first_slice_).last_request <= completed_) {
    const auto& ended = slice(first_slice_++);
    slice_bytes_ -= ended.length;
    if (ended.tells) events_.landed(place_, ++landed_);
    events_.sent(place_, ended.transfer);
  }
  tell_writable();
}

void channel::tell_writable() {
  if (!refused_ || !may_take_slices() || staged_.size() - staged_sent_ > most_staged / 2) return;
  refused_ = false;
  events_.writable(place_);
}

/// Whether the peer is to be told of its credits though nothing else goes there. It may not use the last one, so with
/// one left it waits, whatever used up the others; before that only messages with contents count, or two idle ends
/// would tell each other for ever.
bool channel::owes_credits() const noexcept {
  const auto left = allowed_ - came_;
  const bool soon = left <= owned_ / 2 && fresh_ > 0;
  return (soon || left <= 1) && ahead(came_ + owned_, allowed_);
}

/// More for a peer that uses them, as long as its share is not spent; less when others came.
void channel::renew_credits() {
  const auto share = std::min(queues_->fair_share(), most_credits);
  if (fresh_ > 0 && owned_ < share) {
    owned_ += queues_->lend_spare(std::min(owned_, share - owned_));
  } else if (owned_ > share) {
    const auto unknown_to_peer = came_ + owned_ - allowed_;
    const auto spare = std::min(owned_ - share, unknown_to_peer);
    owned_ -= spare;
    queues_->give_back(spare);
  }
}

// Receiving.

void channel::arrived(std::span<const std::byte> bytes, const ibv_wc& completion) {
  driver_.batch_begins();
  const bool beyond = !ahead(allowed_, came_);
  ++came_;
  const auto credits = ntohl(completion.imm_data);
  if (beyond || (completion.wc_flags & IBV_WC_WITH_IMM) == 0 || completion.opcode != IBV_WC_RECV) {
    driver_.protocol_broken(
        error(errc::protocol_error, beyond ? "a message without credit" : "a message that is no part of the protocol"));
  } else {
    if (ahead(credits, may_send_)) may_send_ = credits;
    if (!std::exchange(proven_, true)) driver_.channel_proven(place_, epoch_);
    if (state_ == state::opening) start(); // its connection is up, whether or not that was said yet
    if (!bytes.empty()) {
      ++fresh_;
      parse(bytes);
    }
    tell_writable();
  }
  driver_.batch_ends();
}

void channel::parse(std::span<const std::byte> bytes) {
  if (assembly_.empty()) {
    const auto taken = parse_frames(bytes);
    assembly_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(taken), bytes.end());
    return;
  }
  assembly_.insert(assembly_.end(), bytes.begin(), bytes.end());
  const auto taken = parse_frames(assembly_);
  assembly_.erase(assembly_.begin(), assembly_.begin() + static_cast<std::ptrdiff_t>(taken));
}

/// Takes every complete frame from the front; returns how many bytes they were.
std::size_t channel::parse_frames(std::span<const std::byte> bytes) {
  std::size_t at = 0;
  while (state_ != state::closed && bytes.size() - at >= wire::header_size) {
    const auto header = wire::decode(bytes.subspan(at).first<wire::header_size>());
    if (!header) {
      driver_.protocol_broken(error(errc::protocol_error, header.error().where()));
      return bytes.size();
    }
    if (header->type == wire::frame_type::slice) {
      at += wire::header_size;
      events_.slice_landed(place_, *header);
      continue;
    }
    const auto length = wire::header_size + header->body_length;
    if (bytes.size() - at < length) break;
    const auto body = bytes.subspan(at + wire::header_size, header->body_length);
    at += length;
    events_.frame_arrived(place_, *header, body);
  }
  return at;
}

} // namespace weft::path::verbs
