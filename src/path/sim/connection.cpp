#include "path/sim/connection.hpp"

#include <algorithm>
#include <cstring>

namespace weft::path::sim {
namespace {

/// What a one-sided end's queue pair takes to be torn down at most.
constexpr auto longest_fence = std::chrono::milliseconds(3);
/// What some one-sided payload takes to land at most.
constexpr auto latest_landing = std::chrono::milliseconds(60);

duration some_of(random_source& random, duration most) {
  return duration(random.below(static_cast<std::uint64_t>(most.count()) + 1));
}

void flip_a_bit(random_source& random, std::span<std::byte> bytes) {
  if (!bytes.empty()) bytes[random.below(bytes.size())] ^= std::byte{1} << random.below(8);
}

/// The part [offset, offset + length) of what `pieces` describe.
template <class Visit>
void for_part(const std::vector<iovec>& pieces, std::uint64_t offset, std::uint64_t length, Visit&& visit) {
  for (const auto& piece : pieces) {
    if (length == 0) return;
    if (offset >= piece.iov_len) {
      offset -= piece.iov_len;
      continue;
    }
    const auto count = std::min<std::uint64_t>(piece.iov_len - offset, length);
    visit(std::span(static_cast<std::byte*>(piece.iov_base) + offset, count));
    offset = 0;
    length -= count;
  }
}

std::vector<iovec> places(const memory::piece_list& pieces, std::uint64_t offset, std::uint64_t length) {
  std::vector<iovec> all;
  pieces.for_each(offset, length, [&all](std::span<std::byte> part) { all.push_back({part.data(), part.size()}); });
  return all;
}

} // namespace

void connection::cut(duration first_notices, duration second_notices) {
  is_cut = true;
  first.break_after(first_notices);
  second.break_after(second_notices);
}

void end::cut(duration notices, duration other_notices) {
  const bool first = this == &in_.first;
  in_.cut(first ? notices : other_notices, first ? other_notices : notices);
}

std::shared_ptr<end> end::shared() {
  return {in_.shared_from_this(), this};
}

void end::later(duration pause, std::function<void()> what) {
  in_.world.time.after(pause, [alive = in_.shared_from_this(), what = std::move(what)] { what(); });
}

capabilities end::can() const noexcept {
  return {.one_sided = in_.terms.one_sided};
}

void end::listen(wire::place at, path::listener& to, std::uint32_t epoch) {
  place_ = at;
  listener_ = &to;
  epoch_ = epoch;
}

void end::break_after(duration notice) {
  later(notice, [this] {
    if (state_ == state::closed) return;
    broken_ = true;
    if (!in_.terms.one_sided) landed_.clear();
    deliver();
  });
}

void end::pause(bool on) {
  paused_ = on;
  if (!on) later({}, [this] { deliver(); });
}

bool end::close() {
  if (state_ != state::open) return state_ == state::closed && told_closed_;
  if (!in_.terms.one_sided || in_.terms.skips_fence) {
    shut();
    return true;
  }
  state_ = state::closing;
  paused_ = false; // a slow process that closes is awake
  told_closed_ = false;
  later(some_of(in_.world.random, longest_fence), [this] {
    shut();
    deliver();
  });
  return false;
}

void end::shut() {
  if (state_ == state::closed) return;
  state_ = state::closed;
  queue_.clear();
  landed_.clear();
  read_.clear();
  owes_landed_ = false;
  if (told_closed_) disown();
  announce();
}

void end::disown() {
  owner_ = nullptr;
  listener_ = nullptr;
}

void end::die() {
  told_closed_ = true;
  dead_ = true;
  disown();
  shut();
}

/// The other end learns of the end of the connection: behind what is on the wire, or only by silence.
void end::announce() {
  auto& random = in_.world.random;
  if (in_.is_cut || random.chance(0.2)) return other_.break_after(in_.terms.silence);
  if (in_.terms.one_sided || random.chance(0.3)) return other_.break_after(in_.terms.delay);
  send({.what = parcel::kind::end_of_stream, .head = {}, .bytes = {}});
}

// Sending.

end::item end::frame_of(const wire::frame_header& header, double flips_header) {
  item added;
  wire::encode(header, added.head);
  if (listener_ != nullptr && in_.world.random.chance(flips_header)) {
    flip_a_bit(in_.world.random, added.head);
    ++in_.world.flips_header;
  }
  return added;
}

bool end::post_message(const wire::frame_header& header, std::span<const std::byte> body) {
  const bool marker = header.type == wire::frame_type::marker;
  if (state_ != state::open) return marker;
  if (queued_ >= in_.terms.queue && listener_ != nullptr && !marker) {
    refused_ = true;
    return false;
  }
  auto added = frame_of(header, in_.terms.flips_header);
  added.body.assign(body.begin(), body.end());
  added.length = body.size();
  added.tells = !in_.terms.one_sided && (header.flags & wire::flag_tell) != 0;
  const bool covered = (header.flags & wire::flag_body_crc) != 0;
  if (covered && in_.world.random.chance(in_.terms.flips_body)) {
    flip_a_bit(in_.world.random, added.body);
    ++in_.world.flips_body;
  }
  enqueue(std::move(added));
  return true;
}

bool end::room() const noexcept {
  return queued_ < in_.terms.queue;
}

bool end::takes_slices() const noexcept {
  if (state_ != state::open) return false;
  // Now and then a queue is full that was not a moment ago.
  const bool full = !room() || (queued_ > 0 && in_.world.random.chance(0.05));
  refused_ |= full;
  return !full;
}

void end::post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                     const memory::granted_list&) {
  // A stream has a frame for each part; beside it the record describes the whole.
  auto frame = header;
  const auto offset = header.offset + part.from;
  if (!in_.terms.one_sided) {
    frame.offset = offset;
    frame.body_length = part.length;
  }
  auto added = frame_of(frame, in_.terms.flips_header);
  added.slice = true;
  added.tells = (header.flags & wire::flag_tell) != 0;
  added.ends = part.end() == header.body_length;
  added.length = part.length;
  added.transfer = header.transfer;
  added.source = places(pieces, offset, part.length);
  const bool covered = (header.flags & wire::flag_body_crc) != 0;
  added.flips = covered && in_.world.random.chance(in_.terms.flips_payload);
  if (in_.terms.one_sided && other_.owner_ != nullptr) {
    const auto* granted = other_.owner_->granted(other_, header.transfer);
    if (granted != nullptr) added.target = places(*granted, offset, part.length);
  }
  enqueue(std::move(added));
}

void end::enqueue(item&& added) {
  queued_ += added.length + wire::header_size;
  queue_.push_back(std::move(added));
  transmit();
}

void end::transmit() {
  if (transmitting_ || queue_.empty() || state_ == state::closed || underway_ >= in_.terms.window) return;
  transmitting_ = true;
  const auto& front = queue_.front();
  auto part = front.length - front.done;
  if (front.slice && part > 1 && in_.world.random.chance(0.5)) part = 1 + in_.world.random.below(part);
  const auto bytes = part + wire::header_size;
  later(std::chrono::nanoseconds(bytes * 1'000'000'000 / in_.terms.bytes_per_second),
        [this, part] { transmitted(part); });
}

std::vector<std::byte> end::read_part(const item& from, std::uint64_t part) {
  std::vector<std::byte> bytes;
  bytes.reserve(part);
  if (from.source.empty()) {
    bytes.assign(from.body.begin() + static_cast<std::ptrdiff_t>(from.done),
                 from.body.begin() + static_cast<std::ptrdiff_t>(from.done + part));
    return bytes;
  }
  for_part(from.source, from.done, part, [&](std::span<std::byte> memory) {
    in_.world.touching(memory, false);
    bytes.insert(bytes.end(), memory.begin(), memory.end());
  });
  return bytes;
}

void end::transmitted(std::uint64_t part) {
  transmitting_ = false;
  if (state_ == state::closed || queue_.empty()) return;
  auto& front = queue_.front();
  auto bytes = read_part(front, part);
  if (std::exchange(front.flips, false)) {
    flip_a_bit(in_.world.random, bytes);
    ++in_.world.flips_payload;
  }
  const bool one_sided = in_.terms.one_sided;
  const bool begins = front.done == 0;
  if (!front.slice) {
    send({.what = parcel::kind::frame, .head = front.head, .bytes = std::move(bytes), .tells = front.tells});
  } else if (one_sided) {
    send_payload(front, std::move(bytes));
  } else {
    if (begins) send({.what = parcel::kind::slice_header, .head = front.head, .bytes = {}});
    const bool tells = front.tells && front.done + part == front.length;
    send({.what = parcel::kind::payload, .head = {}, .bytes = std::move(bytes), .tells = tells});
  }
  front.done += part;
  if (one_sided && front.tells && front.done == front.length) tell_landed(last_arrival_ - in_.world.time.now());
  if (front.done == front.length) {
    if (front.ends && one_sided) send({.what = parcel::kind::record, .head = front.head, .bytes = {}});
    if (front.slice) {
      // A stream knows at once; a queue pair hears from the other side, perhaps after the peer's answer.
      const auto wait = one_sided ? in_.terms.delay + some_of(in_.world.random, 3 * in_.terms.delay) : duration::zero();
      later(wait, [this, transfer = front.transfer, source = std::move(front.source)] {
        if (state_ == state::closed) return;
        // Until then a lost packet would have been read and sent again.
        for_part(source, 0, ~std::uint64_t{0}, [this](auto memory) { in_.world.touching(memory, false); });
        read_.push_back(transfer);
        deliver();
      });
    }
    queued_ -= front.length + wire::header_size;
    queue_.pop_front();
  }
  transmit();
  if (refused_) deliver();
}

/// The sender hears of a part: from the other end's device, or from its process when that took it.
void end::tell_landed(duration pause) {
  later(pause + in_.terms.delay + some_of(in_.world.random, in_.terms.delay), [this] {
    if (state_ != state::open || in_.is_cut) return;
    ++told_;
    owes_landed_ = true;
    deliver();
  });
}

/// Puts a parcel on the wire, behind those before it.
void end::send(parcel&& sent) {
  underway_ += sent.weight();
  const auto delay = in_.terms.delay + some_of(in_.world.random, in_.terms.delay);
  last_arrival_ = std::max(last_arrival_, in_.world.time.now() + delay);
  later(last_arrival_ - in_.world.time.now(),
        [this, came = std::move(sent)]() mutable { other_.arrive(std::move(came)); });
}

/// One-sided payload lands by itself, before its record and whether or not the sender lives.
void end::send_payload(const item& from, std::vector<std::byte>&& bytes) {
  std::vector<iovec> target;
  for_part(from.target, from.done, bytes.size(), [&target](std::span<std::byte> part) {
    target.push_back({part.data(), part.size()});
  });
  const bool late = in_.world.random.chance(0.02);
  const auto delay = in_.terms.delay + some_of(in_.world.random, late ? latest_landing : 4 * in_.terms.delay);
  last_arrival_ = std::max(last_arrival_, in_.world.time.now() + delay);
  later(last_arrival_ - in_.world.time.now(),
        [this, target = std::move(target), bytes = std::move(bytes)] { other_.land(target, bytes); });
}

void end::land(const std::vector<iovec>& target, const std::vector<std::byte>& bytes) {
  const bool fenced = state_ == state::closed && !in_.terms.skips_fence;
  if (fenced || dead_) return;
  std::size_t at = 0;
  for (const auto& part : target) {
    in_.world.touching({static_cast<std::byte*>(part.iov_base), part.iov_len}, true);
    std::memcpy(part.iov_base, bytes.data() + at, part.iov_len);
    at += part.iov_len;
  }
}

// Arriving.

void end::arrive(parcel&& came) {
  if (in_.is_cut || broken_ || state_ == state::closed) return;
  landed_.push_back(std::move(came));
  deliver();
}

bool end::something_waits() const noexcept {
  return !landed_.empty() || !read_.empty() || owes_landed_ || (refused_ && room() && state_ == state::open) ||
         (broken_ && !told_lost_) || (state_ == state::closed && !told_closed_);
}

/// Tells the process what happened, in batches of random size.
void end::deliver() {
  if (delivering_ || paused_ || owner_ == nullptr || !something_waits()) return;
  delivering_ = true;
  while (!paused_ && owner_ != nullptr && something_waits()) {
    auto& owner = *owner_;
    owner.enter();
    do {
      if (state_ == state::closed && !std::exchange(told_closed_, true)) {
        disown();
        owner.closed(*this);
      } else if (!read_.empty()) {
        const auto transfer = read_.back();
        read_.pop_back();
        if (listener_ != nullptr) listener_->sent(place_, transfer);
      } else if (std::exchange(owes_landed_, false)) {
        if (listener_ != nullptr) listener_->landed(place_, told_);
      } else if (!landed_.empty()) {
        auto came = std::move(landed_.front());
        landed_.pop_front();
        other_.underway_ -= std::min(other_.underway_, came.weight());
        other_.transmit();
        if (came.tells) other_.tell_landed(duration::zero());
        take(std::move(came));
      } else if (broken_ && !told_lost_) {
        told_lost_ = true;
        owner.lost(*this);
      } else if (refused_ && room()) {
        refused_ = false;
        if (listener_ != nullptr) listener_->writable(place_);
      }
    } while (owner_ == &owner && !paused_ && something_waits() && in_.world.random.chance(0.5));
    owner.leave();
  }
  delivering_ = false;
}

void end::take(parcel&& came) {
  if (came.what == parcel::kind::end_of_stream) {
    broken_ = true;
    return;
  }
  if (came.what == parcel::kind::payload) return take_payload(came.bytes);
  const auto header = wire::decode(came.head);
  if (!header) {
    broken_ = true;
    landed_.clear();
    return;
  }
  if (came.what == parcel::kind::frame) {
    if (listener_ == nullptr) return owner_->frame_arrived(*this, *header, came.bytes);
    return listener_->frame_arrived(place_, *header, came.bytes);
  }
  if (listener_ == nullptr) return;
  came.what == parcel::kind::record ? listener_->slice_landed(place_, *header)
                                    : listener_->slice_began(place_, *header);
}

void end::take_payload(std::span<const std::byte> bytes) {
  while (!bytes.empty() && listener_ != nullptr && state_ == state::open) {
    iovec space[4];
    const auto parts = listener_->slice_space(place_, space);
    std::size_t placed = parts == 0 ? bytes.size() : 0;
    for (const auto& part : std::span(space, parts)) {
      const auto count = std::min(part.iov_len, bytes.size() - placed);
      if (count == 0) break;
      in_.world.touching({static_cast<std::byte*>(part.iov_base), count}, true);
      std::memcpy(part.iov_base, bytes.data() + placed, count);
      placed += count;
    }
    bytes = bytes.subspan(placed);
    listener_->slice_grew(place_, placed);
  }
}

} // namespace weft::path::sim
