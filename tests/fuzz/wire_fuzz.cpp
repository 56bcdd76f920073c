// The frame header and the bodies of frames: whatever is accepted is encoded to something that is read back the same.
#include "choices.hpp"

#include "wire/bodies.hpp"

namespace weft::fuzz {
namespace {

template <class Value, class Decode>
void comes_back(const Value& value, Decode decode) {
  std::vector<std::byte> encoded;
  wire::encode(value, encoded);
  const auto again = decode(std::span<const std::byte>(encoded));
  require(again.has_value() && *again == value, "what was accepted is read back");
}

result<wire::request> decode_request(std::span<const std::byte> body) {
  wire::reader in(body);
  return wire::decode_request(in);
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const auto what = in.below(5);
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
    const auto value = decode_request(bytes);
    if (!value) return 0;
    comes_back(*value, decode_request);
    if (value->kind == wire::operation_kind::request) return 0;
    require(value->slice_size > 0 && value->length / value->slice_size < 0x80000000, "slices can be counted");
  } else if (what == 4) {
    const auto value = wire::decode_ranges(bytes);
    if (!value) return 0;
    std::vector<std::byte> encoded;
    wire::encode(std::span<const wire::slice_range>(value->all()), encoded);
    require(std::equal(encoded.begin(), encoded.end(), bytes.begin(), bytes.end()), "ranges are encoded as they came");
  }
  return 0;
}

} // namespace weft::fuzz
