#include "wire/bodies.hpp"

#include "base/printable.hpp"

#include <algorithm>

namespace weft::wire {
namespace {

error malformed(const char* what) {
  return {errc::protocol_error, std::string("malformed ") + what};
}

constexpr std::uint32_t refused_bit = 0x80000000;

} // namespace

void encode(const hello& value, std::vector<std::byte>& out) {
  writer(out)
      .text(value.name)
      .id(value.incarnation)
      .id(value.session)
      .integer(value.session_epoch)
      .integer(value.features)
      .integer(value.required);
  if (value.rails.empty()) return;
  writer to(out);
  to.integer(static_cast<std::uint8_t>(value.rails.size()));
  for (const auto& each : value.rails) {
    to.integer(each.rail).integer(std::uint8_t{each.v6}).bytes(each.address).integer(each.port);
  }
}

result<hello> decode_hello(std::span<const std::byte> body) {
  reader in(body);
  hello value;
  value.name = in.text(longest_peer_name);
  value.incarnation = in.id();
  value.session = in.id();
  value.session_epoch = in.integer<std::uint32_t>();
  value.features = in.integer<std::uint64_t>();
  value.required = in.integer<std::uint64_t>();
  if (in.ok() && in.left() > 0) {
    const std::size_t count = in.integer<std::uint8_t>();
    if (count > most_rail_addresses) return malformed("hello: rails");
    for (std::size_t i = 0; i < count; ++i) {
      auto& each = value.rails.emplace_back();
      each.rail = in.integer<std::uint8_t>();
      each.v6 = in.integer<std::uint8_t>() != 0;
      const auto address = in.take(each.address.size());
      if (!in.ok() || each.rail >= most_rails) return malformed("hello: rails");
      std::copy(address.begin(), address.end(), each.address.begin());
      each.port = in.integer<std::uint16_t>();
    }
  }
  // A later version may append fields: what follows is not an error.
  if (!in.ok() || value.name.empty() || printable(value.name) != value.name) return malformed("hello");
  return value;
}

void encode(const channel_hello& value, std::vector<std::byte>& out) {
  writer(out).id(value.session).integer(static_cast<std::uint8_t>(value.at.index())).integer(value.epoch);
}

result<channel_hello> decode_channel_hello(std::span<const std::byte> body) {
  reader in(body);
  channel_hello value;
  value.session = in.id();
  const auto index = in.integer<std::uint8_t>();
  value.epoch = in.integer<std::uint32_t>();
  if (!in.ok() || !place::is_one(index) || value.epoch == 0) return malformed("channel hello");
  value.at = place::at(index);
  return value;
}

void encode(const request& value, std::vector<std::byte>& out) {
  writer(out).integers(value.service, static_cast<std::uint8_t>(value.kind), static_cast<std::uint8_t>(value.carries),
                       static_cast<std::uint8_t>(value.verify), value.slice_size, value.length, value.window,
                       value.time_left_ns, value.grant_length);
}

result<request> decode_request(reader& in) {
  request value;
  value.service = in.integer<std::uint16_t>();
  const auto kind = in.integer<std::uint8_t>();
  const auto carries = in.integer<std::uint8_t>();
  const auto verify = in.integer<std::uint8_t>();
  value.slice_size = in.integer<std::uint32_t>();
  value.length = in.integer<std::uint64_t>();
  value.window = in.integer<std::uint64_t>();
  value.time_left_ns = in.integer<std::uint64_t>();
  value.grant_length = in.integer<std::uint32_t>();
  if (!in.ok() || value.grant_length > in.left() || kind > static_cast<std::uint8_t>(operation_kind::read) ||
      carries >= lane_count || verify > static_cast<std::uint8_t>(verify_mode::wire)) {
    return malformed("request");
  }
  value.kind = static_cast<operation_kind>(kind);
  value.carries = static_cast<lane>(carries);
  value.verify = static_cast<verify_mode>(verify);
  if (value.kind != operation_kind::request) {
    const bool one_slice = value.slice_size >= value.length && value.slice_size > 0;
    if (value.slice_size > largest_slice || (value.slice_size < smallest_slice && !one_slice)) {
      return malformed("request: slice size");
    }
    const auto slices = value.length / value.slice_size + (value.length % value.slice_size != 0 ? 1 : 0);
    if (slices >= refused_bit) return malformed("request: too many slices");
  } else if (value.length != 0) {
    return malformed("request: length without a transfer");
  }
  if (value.grant_length != 0 && value.kind != operation_kind::read) return malformed("request: a grant of nothing");
  return value;
}

void encode(std::span<const slice_range> ranges, std::vector<std::byte>& out) {
  writer to(out);
  for (const auto& range : ranges) {
    to.integer(range.first).integer(range.count | (range.refused ? refused_bit : 0));
  }
}

slice_range slice_ranges::operator[](std::size_t index) const noexcept {
  reader in(body_.subspan(index * encoded_size, encoded_size));
  const auto first = in.integer<std::uint32_t>();
  const auto count = in.integer<std::uint32_t>();
  return {first, count & ~refused_bit, (count & refused_bit) != 0};
}

result<slice_ranges> decode_ranges(std::span<const std::byte> body) {
  const slice_ranges ranges(body);
  if (body.size() % slice_ranges::encoded_size != 0 || ranges.size() > most_ranges) return malformed("progress");
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (ranges[i].count == 0) return malformed("progress: empty range");
  }
  return ranges;
}

} // namespace weft::wire
