// The one frame of the protocol: a header of 64 bytes, then a body of `body_length` bytes. Session frames, messages and
// slices all use it. Everything is little-endian; `epoch`, `transfer`, `offset` and the like are zero where a type has
// no use for them. Version 1 is frozen in tests/golden/v1.
#pragma once

#include "weft/error.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::wire {

inline constexpr std::uint32_t magic = 0x54464557; // "WEFT" in memory order
inline constexpr std::uint8_t version = 1;
inline constexpr std::size_t header_size = 64;
/// The largest body of anything but a slice: a request's payload of 64 KiB and room for its fixed part.
inline constexpr std::uint32_t largest_message = 64 * 1024 + 4096;
/// All slices of a transfer but the last have one size in this range; a shorter transfer is one slice.
inline constexpr std::uint32_t smallest_slice = 64 * 1024;
inline constexpr std::uint32_t largest_slice = 1024 * 1024;
/// Rails of one process: those that have an RDMA device, and those that it tells its peers of.
inline constexpr std::size_t most_rails = 16;

enum class frame_type : std::uint8_t {
  // Session frames, on the control connection (the two hellos open a connection of either kind).
  hello = 1,
  hello_answer = 2,
  channel_hello = 3,
  channel_answer = 4,
  refusal = 5,
  ping = 6,
  pong = 7,
  channel_wanted = 8,
  channel_failed = 9,
  goodbye = 10,
  // Numbered messages, on the message channel of an engine.
  request = 16,
  grant = 17,
  response = 18,
  progress = 19,
  cancel = 20,
  channel_fenced = 21,
  // Unnumbered, on any channel.
  acknowledge = 32,
  slice = 33,
  marker = 34,
  landed = 35,
};

[[nodiscard]] constexpr bool is_numbered(frame_type type) noexcept {
  return type >= frame_type::request && type <= frame_type::channel_fenced;
}

/// Set when `body_crc` holds the CRC32C of the body; without it the body is covered by the wire's own checks only.
inline constexpr std::uint16_t flag_body_crc = 1;
/// On any frame of a stream: its receiver says `landed` once it has come.
inline constexpr std::uint16_t flag_tell = 2;
/// On a slice: its sender has as much under way now as its receiver allows.
inline constexpr std::uint16_t flag_held = 4;

/// Offsets in the encoded header are those of the members, in order, without padding; the last four bytes are the
/// CRC32C of the sixty before.
struct frame_header {
  frame_type type{};
  std::uint16_t flags = 0;
  std::uint32_t body_length = 0;
  std::uint32_t body_crc = 0;
  std::uint32_t epoch = 0;    ///< of the channel that carries the frame
  std::uint32_t number = 0;   ///< of a numbered message, from 1, wrapping
  std::uint32_t received = 0; ///< every message up to this number has arrived at the sender of this frame
  std::uint32_t index = 0;    ///< slice: its index; channel_*: that of the place; request, grant, progress: that of a
                              ///< channel which comes by the rail that `code` is about
  std::uint64_t transfer = 0; ///< the operation this belongs to
  std::uint64_t offset = 0;   ///< slice: first byte of the transfer; request, grant, progress: its sender's number of
                              ///< that rail, below most_rails
  std::uint64_t argument = 0; ///< request: 1 when the deadline orders it among those of its lane; grant: window in
                              ///< bytes; response: 1 when slices were sent;
                              ///< marker: the channels that carried some, a bit for each
                              ///< number; channel_fenced: the epoch that is up instead, or 0;
                              ///< landed: how many frames with flag_tell have come
  std::uint32_t code = 0; ///< response, cancel, refusal, goodbye: an errc, 0 for success; channel_fenced: the epoch;
                          ///< request, grant, progress: what of slices its receiver may have under way to a rail
                          ///< of its sender, in units of 4 KiB; 0: as much as it likes

  friend bool operator==(const frame_header&, const frame_header&) = default;
};

/// The error that a peer names by a code. What is none, 0 included, becomes `otherwise`: the list of errors is closed.
[[nodiscard]] errc reason_of(std::uint32_t code, errc otherwise) noexcept;

void encode(const frame_header& header, std::span<std::byte, header_size> out) noexcept;

/// Checks magic, CRC, version, type, flags and length, in this order. Errors: not_weft (magic), version_mismatch,
/// protocol_error.
[[nodiscard]] result<frame_header> decode(std::span<const std::byte, header_size> bytes);

} // namespace weft::wire
