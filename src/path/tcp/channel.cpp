#include "path/tcp/channel.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weft::path::tcp {
namespace {

constexpr std::size_t buffer_size = wire::header_size + wire::largest_message;
constexpr std::size_t most_parts = 64;
/// Posted messages that may wait for the socket before more are refused.
constexpr std::size_t most_staged = 512 * 1024;
/// Bytes of slices that may wait for the socket.
constexpr std::uint64_t most_slice_bytes = 1024 * 1024;
/// Bytes read before other channels of the thread get their turn.
constexpr std::size_t read_turn = 2 * 1024 * 1024;

} // namespace

channel::channel(boost::asio::ip::tcp::socket connected, wire::place at, std::uint32_t epoch, listener& events,
                 driver& owner)
    : socket_(std::move(connected)), place_(at), epoch_(epoch), events_(events), driver_(owner),
      buffer_(std::make_unique_for_overwrite<std::byte[]>(buffer_size)) {}

void channel::start() {
  error_code ignored;
  socket_.native_non_blocking(true, ignored);
  wait_readable();
}

bool channel::close() noexcept {
  if (std::exchange(closed_, true)) return true;
  first_slice_ = end_slice_;
  error_code ignored;
  // A child of this process may hold the descriptor too; the peer is to see the end all the same.
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
  return true;
}

void channel::fail(const error& why) {
  if (closed_) return;
  close();
  driver_.channel_failed(place_, epoch_, why);
}

/// A failure to send is the first sign of an end that receiving then finds.
void channel::fail_receiving(std::string why) {
  if (!send_failure_.empty()) why = send_failure_;
  fail(error(errc::path_failed, why.empty() ? "the peer closed the connection" : std::move(why)));
}

// Receiving.

/// Between slices the next bytes go to the buffer, so that waiting and reading are one step. Inside a slice the place
/// is asked for when there are bytes: until then it may change hands.
void channel::wait_readable() {
  if (slice_left_ > 0) {
    return socket_.async_wait(boost::asio::ip::tcp::socket::wait_read,
                              [self = shared_from_this()](const error_code& code) { self->received(code, 0); });
  }
  const auto free = prepare_buffer();
  socket_.async_receive(
      boost::asio::buffer(free.data(), free.size()),
      [self = shared_from_this()](const error_code& code, std::size_t bytes) { self->received(code, bytes); });
}

void channel::received(const error_code& code, std::size_t bytes) {
  if (closed_ || code == boost::asio::error::operation_aborted) return;
  driver_.batch_begins();
  const bool into_buffer = slice_left_ == 0;
  if (code) {
    fail_receiving(code == boost::asio::error::eof ? "" : fmt::format("receive: {}", code.message()));
  } else if (!into_buffer) {
    readable();
  } else {
    const auto asked = prepare_buffer().size();
    end_ += bytes;
    if (parse_frames() && bytes == asked) readable();
  }
  driver_.batch_ends();
  if (!closed_) wait_readable();
}

void channel::readable() {
  read_ = 0;
  while (!closed_ && read_ < read_turn) {
    if (!(slice_left_ > 0 ? read_slice() : read_frames())) return;
  }
}

/// What the socket has, or -1 when there is nothing to go on with: it is drained, or it failed and fail() was called.
ssize_t channel::receive(std::span<iovec> into) {
  msghdr message{};
  message.msg_iov = into.data();
  message.msg_iovlen = into.size();
  for (;;) {
    const auto got = ::recvmsg(socket_.native_handle(), &message, 0);
    if (got > 0) {
      read_ += static_cast<std::size_t>(got);
      return got;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return -1;
    fail_receiving(got == 0 ? "" : fmt::format("receive: {}", std::strerror(errno)));
    return -1;
  }
}

/// Reads payload into its place and, behind it, the next header. False: go on when the socket is readable.
bool channel::read_slice() {
  std::array<iovec, most_parts> parts;
  auto count = events_.slice_space(place_, std::span(parts).first(most_parts - 1));
  std::size_t wanted = 0;
  for (const auto& part : std::span(parts).first(count)) wanted += part.iov_len;
  if (count == 0) {
    // Nobody wants it: the buffer is empty inside a slice and serves as the sink.
    wanted = std::min<std::size_t>(slice_left_, buffer_size);
    parts[count++] = {buffer_.get(), wanted};
  }
  auto asked = wanted;
  const bool to_the_end = wanted == slice_left_ && parts[0].iov_base != buffer_.get();
  if (to_the_end) {
    parts[count++] = {buffer_.get(), wire::header_size};
    asked += wire::header_size;
  }
  const auto got = receive(std::span(parts).first(count));
  if (got < 0) return false;
  const auto bytes = static_cast<std::size_t>(got);
  const auto placed = std::min(bytes, wanted);
  begin_ = 0;
  end_ = bytes - placed;
  came_of_slice(placed);
  if (closed_) return false;
  return parse_frames() && bytes == asked;
}

/// Where the next bytes between slices go.
std::span<std::byte> channel::prepare_buffer() {
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  const bool header_only = after_slice_ && end_ < wire::header_size;
  return {buffer_.get() + end_, (header_only ? wire::header_size : buffer_size) - end_};
}

bool channel::read_frames() {
  const auto free = prepare_buffer();
  std::array<iovec, 1> part = {iovec{free.data(), free.size()}};
  const auto got = receive(part);
  if (got < 0) return false;
  end_ += static_cast<std::size_t>(got);
  return parse_frames() && static_cast<std::size_t>(got) == part[0].iov_len;
}

/// Takes every complete frame out of the buffer. False: the channel was closed by what they said.
bool channel::parse_frames() {
  while (!closed_ && slice_left_ == 0 && end_ - begin_ >= wire::header_size) {
    const std::span<const std::byte, wire::header_size> bytes(buffer_.get() + begin_, wire::header_size);
    const auto header = wire::decode(bytes);
    if (!header) {
      fail(header.error());
      return false;
    }
    if (header->type == wire::frame_type::slice) {
      begin_ += wire::header_size;
      begin_slice(*header);
      continue;
    }
    if (end_ - begin_ < wire::header_size + header->body_length) {
      after_slice_ = false; // the body is to be gathered
      return true;
    }
    const std::span<const std::byte> body(buffer_.get() + begin_ + wire::header_size, header->body_length);
    begin_ += wire::header_size + header->body_length;
    after_slice_ = false;
    if ((header->flags & wire::flag_tell) != 0) {
      // At once: what the frame has its handler do is no part of the way.
      asking_frame_came();
      flush();
      if (closed_) return false;
    }
    if (header->type != wire::frame_type::landed) {
      events_.frame_arrived(place_, *header, body);
    } else if (header->epoch == epoch_) {
      events_.landed(place_, header->argument);
    }
  }
  if (begin_ == end_) begin_ = end_ = 0;
  return !closed_;
}

/// Places what the buffer already holds of a slice; the rest goes straight to its place.
void channel::begin_slice(const wire::frame_header& header) {
  after_slice_ = true;
  slice_left_ = header.body_length;
  slice_tells_ = (header.flags & wire::flag_tell) != 0;
  events_.slice_began(place_, header);
  while (!closed_ && slice_left_ > 0 && begin_ < end_) {
    std::array<iovec, most_parts> parts;
    const auto count = events_.slice_space(place_, parts);
    auto available = std::min<std::size_t>(end_ - begin_, slice_left_);
    std::size_t placed = 0;
    for (const auto& part : std::span(parts).first(count)) {
      const auto length = std::min(part.iov_len, available - placed);
      std::memcpy(part.iov_base, buffer_.get() + begin_ + placed, length);
      placed += length;
    }
    if (count == 0) placed = available;
    begin_ += placed;
    came_of_slice(placed);
  }
}

void channel::came_of_slice(std::size_t bytes) {
  slice_left_ -= static_cast<std::uint32_t>(bytes);
  if (slice_left_ == 0 && slice_tells_) asking_frame_came();
  events_.slice_grew(place_, bytes);
}

// Sending.

bool channel::post_message(const wire::frame_header& header, std::span<const std::byte> body) {
  // Flushing tells nobody of anything where no slice is out by it.
  if (messages_.size() - messages_sent_ > most_staged && first_slice_ == end_slice_) flush();
  if (messages_.size() - messages_sent_ > most_staged) return false;
  std::array<std::byte, wire::header_size> encoded;
  wire::encode(header, encoded);
  messages_.insert(messages_.end(), encoded.begin(), encoded.end());
  messages_.insert(messages_.end(), body.begin(), body.end());
  return true;
}

bool channel::takes_slices() const noexcept {
  // A full socket is no reason: a lane has as much under way as the scheduler gave it, not as its connection's buffer
  // happens to hold.
  return !closed_ && end_slice_ - first_slice_ < most_slices && slice_bytes_ < most_slice_bytes;
}

void channel::post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                         const memory::granted_list&) {
  assert(takes_slices());
  auto& added = slice(end_slice_++);
  auto frame = header;
  frame.offset += part.from;
  frame.body_length = part.length;
  wire::encode(frame, added.header);
  added.header_sent = 0;
  added.pieces = &pieces;
  added.offset = frame.offset;
  added.left = part.length;
  added.transfer = header.transfer;
  slice_bytes_ += part.length;
}

void channel::asking_frame_came() noexcept {
  ++came_;
  owes_landed_ = true;
}

/// One frame tells of all that came in a batch.
void channel::tell_landed() {
  if (!std::exchange(owes_landed_, false)) return; // posting may flush
  owes_landed_ = !post_message({.type = wire::frame_type::landed, .epoch = epoch_, .argument = came_}, {});
}

void channel::flush() {
  if (closed_) return;
  tell_landed();
  if (!waiting_) write_some();
}

/// A slice that is partly out, or that enough messages went before.
bool channel::slice_goes_first() const noexcept {
  if (first_slice_ == end_slice_) return false;
  return slices_[first_slice_ % most_slices].header_sent > 0 || overtaken_ >= most_staged;
}

/// What is left of such a slice, the messages, the other slices: as other channels carry those of other
/// lanes, nothing of the protocol hangs on their order, and who waits for a message does not wait for what the socket
/// holds up.
std::size_t channel::gather(std::span<iovec> out) const noexcept {
  std::size_t count = 0;
  const auto add = [&](const outgoing_slice& next) {
    if (out.size() - count < 2) return false;
    if (next.header_sent < wire::header_size) {
      out[count++] = {const_cast<std::byte*>(next.header.data()) + next.header_sent,
                      wire::header_size - next.header_sent};
    }
    std::uint64_t gathered = 0;
    const auto from = count;
    count += next.pieces->gather(next.offset, next.left, out.subspan(count));
    for (const auto& part : out.subspan(from, count - from)) gathered += part.iov_len;
    return gathered == next.left;
  };
  auto number = first_slice_;
  if (slice_goes_first() && (!add(slices_[number++ % most_slices]) || count == out.size())) return count;
  if (messages_sent_ < messages_.size()) {
    out[count++] = {const_cast<std::byte*>(messages_.data()) + messages_sent_, messages_.size() - messages_sent_};
  }
  while (number != end_slice_ && add(slices_[number % most_slices])) ++number;
  return count;
}

/// So many bytes of what was gathered are out, when there were so many of messages.
void channel::written(std::size_t bytes, std::size_t messages) {
  if (slice_goes_first()) bytes = slice_written(bytes);
  if (closed_ || slice_goes_first()) return;
  const auto some = std::min(bytes, messages - messages_sent_);
  messages_sent_ += some;
  bytes -= some;
  overtaken_ += some;
  if (messages_sent_ == messages_.size() || messages_sent_ > most_staged) {
    messages_.erase(messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(messages_sent_));
    messages_sent_ = 0;
  }
  while (bytes > 0 && !closed_) bytes = slice_written(bytes);
}

/// Of the first slice, as far as they reach; returns how many are left. Tells of it when it is out.
std::size_t channel::slice_written(std::size_t bytes) {
  auto& first = slice(first_slice_);
  const auto header = std::min(bytes, wire::header_size - first.header_sent);
  first.header_sent += header;
  bytes -= header;
  const auto payload = std::min<std::uint64_t>(bytes, first.left);
  first.offset += payload;
  first.left -= payload;
  slice_bytes_ -= payload;
  if (first.left == 0 && first.header_sent == wire::header_size) {
    ++first_slice_;
    overtaken_ = 0;
    events_.sent(place_, first.transfer);
  }
  return bytes - payload;
}

/// Writes until all is out or the socket is full.
void channel::write_some() {
  while (!closed_ && (messages_sent_ < messages_.size() || first_slice_ != end_slice_)) {
    std::array<iovec, most_parts> parts;
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = gather(parts);
    const auto sent = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL);
    if (sent >= 0) {
      written(static_cast<std::size_t>(sent), messages_.size());
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return wait_writable();
    } else if (errno != EINTR) {
      // Frames that arrived before the end still count: why the peer went, say. What is receiving takes them, and then
      // finds the end.
      waiting_ = true;
      send_failure_ = fmt::format("send: {}", std::strerror(errno));
      ::shutdown(socket_.native_handle(), SHUT_RDWR);
      return;
    }
  }
}

void channel::wait_writable() {
  waiting_ = true;
  socket_.async_wait(boost::asio::ip::tcp::socket::wait_write, [self = shared_from_this()](const error_code& code) {
    if (self->closed_ || code) return;
    self->driver_.batch_begins();
    self->writable();
    self->driver_.batch_ends();
  });
}

void channel::writable() {
  waiting_ = false;
  write_some();
  if (takes_slices()) events_.writable(place_);
}

} // namespace weft::path::tcp
