// A channel over one TCP connection, also used for the session's. Headers and payload of several slices leave in one
// gather write from the caller's memory: a call into the kernel's TCP costs as much as copying 64 KiB. Payload is
// received straight into the memory that the listener names, asked before every read. Each part of a slice is a frame.
// All reading and writing of user memory happens inside calls of this class, so that close() is a complete fence. Used
// on the thread of its executor.
#pragma once

#include "path/channel.hpp"
#include "path/driver.hpp"

#include "weft/error.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace weft::path::tcp {

class channel final : public path::channel, public std::enable_shared_from_this<channel> {
public:
  /// Listener and driver must live until close() or channel_failed.
  channel(boost::asio::ip::tcp::socket connected, wire::place at, std::uint32_t epoch, listener& events, driver& owner);

  /// Begins to read.
  void start();
  /// Ends at once. Idempotent.
  bool close() noexcept override;

  [[nodiscard]] capabilities can() const noexcept override { return {}; }
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return epoch_; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte> body) override;
  [[nodiscard]] bool takes_slices() const noexcept override;
  void post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                  const memory::granted_list& granted) override;
  void flush() override;

private:
  static constexpr std::size_t most_slices = 16;

  struct outgoing_slice {
    std::array<std::byte, wire::header_size> header;
    std::size_t header_sent = 0;
    const memory::piece_list* pieces = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t left = 0;
    std::uint64_t transfer = 0;
  };

  outgoing_slice& slice(std::size_t number) noexcept { return slices_[number % most_slices]; }
  [[nodiscard]] bool slice_goes_first() const noexcept;
  void wait_readable();
  void received(const error_code& code, std::size_t bytes);
  [[nodiscard]] std::span<std::byte> prepare_buffer();
  void wait_writable();
  void readable();
  void writable();
  [[nodiscard]] bool read_slice();
  [[nodiscard]] bool read_frames();
  [[nodiscard]] bool parse_frames();
  void begin_slice(const wire::frame_header& header);
  void came_of_slice(std::size_t bytes);
  [[nodiscard]] std::size_t gather(std::span<iovec> out) const noexcept;
  void asking_frame_came() noexcept;
  void tell_landed();
  void written(std::size_t bytes, std::size_t messages);
  std::size_t slice_written(std::size_t bytes);
  void write_some();
  [[nodiscard]] ssize_t receive(std::span<iovec> into);
  void fail(const error& why);
  void fail_receiving(std::string why);

  boost::asio::ip::tcp::socket socket_;
  const wire::place place_;
  const std::uint32_t epoch_;
  listener& events_;
  driver& driver_;
  bool closed_ = false;

  // Receiving. Between frames and in messages bytes gather in buffer_; inside a slice it is empty.
  std::unique_ptr<std::byte[]> buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t read_ = 0;         ///< bytes since the turn began
  std::uint32_t slice_left_ = 0; ///< payload bytes of the arriving slice that are still to come
  bool slice_tells_ = false;     ///< the arriving slice has flag_tell
  bool after_slice_ = false;     ///< the last frame was a slice: read no more than the next header, to copy nothing

  // Sending.
  std::vector<std::byte> messages_;
  std::size_t messages_sent_ = 0;
  std::size_t overtaken_ = 0; ///< bytes of messages that went since a slice was out
  std::array<outgoing_slice, most_slices> slices_;
  std::size_t first_slice_ = 0; ///< the first that is not all out, by its number; its place is that modulo most_slices
  std::size_t end_slice_ = 0;
  std::uint64_t slice_bytes_ = 0; ///< not out yet
  std::uint64_t came_ = 0;        ///< frames with flag_tell
  bool owes_landed_ = false;      ///< the peer was not told of the last of them
  bool waiting_ = false;          ///< the socket is full: writable() follows; or sending failed
  std::string send_failure_;      ///< how; the end of receiving follows
};

} // namespace weft::path::tcp
