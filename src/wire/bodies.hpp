// The bodies of frames: hellos, requests, lists of slices. encode appends to a vector, decode checks every bound and
// fails with protocol_error.
#pragma once

#include "wire/cursor.hpp"
#include "wire/frame.hpp"
#include "wire/place.hpp"

#include "weft/config.hpp"
#include "weft/lane.hpp"

#include <array>
#include <string>
#include <vector>

namespace weft::wire {

inline constexpr std::size_t longest_peer_name = 255;

/// Where a rail of a process takes queue pairs.
struct rail_address {
  std::uint8_t rail = 0; ///< which of the keys in its grants belongs to it
  bool v6 = false;
  std::array<std::byte, 16> address{}; ///< network order; the first four bytes of it for IPv4
  std::uint16_t port = 0;

  friend bool operator==(const rail_address&, const rail_address&) = default;
};

inline constexpr std::size_t most_rail_addresses = 64;
/// Of the first frame's body, a hello or a channel's; twice what they need now, for fields that come later.
inline constexpr std::size_t largest_greeting = 4096;

/// Features a process offers; the link uses those that both ends have. Unknown bits of `required` end the handshake.
struct hello {
  std::string name;
  id128 incarnation;               ///< new at every start of the process
  id128 session;                   ///< the session to open or take over; its owner chose it at random
  std::uint32_t session_epoch = 0; ///< counts the connections of the session, from 1
  std::uint64_t features = 0;
  std::uint64_t required = 0;           ///< of these, the peer must know
  std::vector<rail_address> rails = {}; ///< with an RDMA device; the peer dials them, and keeps grants for them

  friend bool operator==(const hello&, const hello&) = default;
};

void encode(const hello& value, std::vector<std::byte>& out);
[[nodiscard]] result<hello> decode_hello(std::span<const std::byte> body);

/// Opens a data connection: which session, place and epoch it belongs to.
struct channel_hello {
  id128 session;
  place at;
  std::uint32_t epoch = 0;

  friend bool operator==(const channel_hello&, const channel_hello&) = default;
};

void encode(const channel_hello& value, std::vector<std::byte>& out);
[[nodiscard]] result<channel_hello> decode_channel_hello(std::span<const std::byte> body);

enum class operation_kind : std::uint8_t { request, write, read };

/// The fixed part of a request; the grant of a read follows it in the body, then the caller's payload.
struct request {
  std::uint16_t service = 0;
  operation_kind kind{};
  lane carries{}; ///< of the transfer's slices
  verify_mode verify{};
  std::uint32_t slice_size = 0;
  std::uint64_t length = 0;       ///< bytes of the transfer, 0 for a plain request
  std::uint64_t window = 0;       ///< read: bytes that may be under way unverified
  std::uint64_t time_left_ns = 0; ///< until the caller's deadline, when this was sent
  std::uint32_t grant_length = 0; ///< read: bytes of the grant (wire/grant.hpp)

  friend bool operator==(const request&, const request&) = default;
};

inline constexpr std::size_t request_fixed_size = 37;

void encode(const request& value, std::vector<std::byte>& out);
/// Leaves `in` at the grant. Checks lane, kind, verify, and that slice_size fits length.
[[nodiscard]] result<request> decode_request(reader& in);

/// Consecutive slices that the receiver has verified, or refuses because their CRC does not match.
struct slice_range {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  bool refused = false;

  friend bool operator==(const slice_range&, const slice_range&) = default;
};

/// As many ranges as one progress message may carry.
inline constexpr std::size_t most_ranges = 1024;

void encode(std::span<const slice_range> ranges, std::vector<std::byte>& out);

/// The ranges in a body that was checked: a view, so that a report costs no memory.
class slice_ranges {
public:
  [[nodiscard]] std::size_t size() const noexcept { return body_.size() / encoded_size; }
  [[nodiscard]] slice_range operator[](std::size_t index) const noexcept;

private:
  friend result<slice_ranges> decode_ranges(std::span<const std::byte> body);
  static constexpr std::size_t encoded_size = 8;

  explicit slice_ranges(std::span<const std::byte> body) noexcept : body_(body) {}

  std::span<const std::byte> body_;
};

/// Of the body, which must outlive what is returned.
[[nodiscard]] result<slice_ranges> decode_ranges(std::span<const std::byte> body);

/// A response's text: what failed and where, in the responder's words (shown, never interpreted), then its payload.
inline constexpr std::size_t longest_where = 1024;

} // namespace weft::wire
