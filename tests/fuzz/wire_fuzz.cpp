// The frame header and the bodies of frames: whatever is accepted is encoded to something that is read back the same.
#include "choices.hpp"

#include "../wire/ranges.hpp"

#include "wire/bodies.hpp"
#include "wire/grant.hpp"

namespace weft::fuzz {
namespace {

/// `behind` follows the encoded value, as a grant does a request.
template <class Value, class Decode>
void comes_back(const Value& value, Decode decode, std::span<const std::byte> behind = {}) {
  std::vector<std::byte> encoded;
  wire::encode(value, encoded);
  encoded.insert(encoded.end(), behind.begin(), behind.end());
  const auto again = decode(std::span<const std::byte>(encoded));
  require(again.has_value() && *again == value, "what was accepted is read back");
}

result<wire::request> decode_request(std::span<const std::byte> body) {
  wire::reader in(body);
  return wire::decode_request(in);
}

/// What is accepted names `length` bytes, all of them in parts that have bytes, for every rail.
void grant(std::span<const std::byte> body, std::uint64_t length) {
  const auto list = wire::decode_grant(body, length);
  if (!list || body.empty()) return;
  require(list->length() == length, "a grant names the bytes that it is for");
  for (std::uint64_t offset = 0; offset < length;) {
    const auto part = list->at(offset, length - offset, list->rails() - 1);
    require(part.length > 0 && part.length <= length - offset, "a part has bytes, and not more than asked for");
    offset += part.length;
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const auto what = in.below(6);
  const auto length = what == 5 ? in.number<std::uint16_t>() : 0;
  const auto bytes = in.rest();
  if (what == 0 && bytes.size() >= wire::header_size) {
    const auto header = wire::decode(bytes.first<wire::header_size>());
    if (!header) return 0;
    std::array<std::byte, wire::header_size> encoded;
    wire::encode(*header, encoded);
    require(std::equal(encoded.begin(), encoded.end(), bytes.begin()), "a header is encoded as it came");
  } else if (what == 1) {
    if (const auto value = wire::decode_hello(bytes)) comes_back(*value, wire::decode_hello);
  } else if (what == 2) {
    if (const auto value = wire::decode_channel_hello(bytes)) comes_back(*value, wire::decode_channel_hello);
  } else if (what == 3) {
    wire::reader from(bytes);
    const auto value = wire::decode_request(from);
    if (!value) return 0;
    comes_back(*value, decode_request, from.rest());
    if (value->kind == wire::operation_kind::request) return 0;
    require(value->slice_size > 0 && value->length / value->slice_size < 0x80000000, "slices can be counted");
  } else if (what == 4) {
    if (!wire::decode_ranges(bytes)) return 0;
    std::vector<std::byte> encoded;
    wire::encode(std::span<const wire::slice_range>(wire::ranges_of(bytes)), encoded);
    require(std::equal(encoded.begin(), encoded.end(), bytes.begin(), bytes.end()), "ranges are encoded as they came");
  } else if (what == 5) {
    grant(bytes, length);
  }
  return 0;
}

} // namespace weft::fuzz
