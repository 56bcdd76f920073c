#include "wire/frame.hpp"

#include "base/crc32c.hpp"

#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace weft::wire {
namespace {

/// The header as it lies on the wire.
struct layout {
  std::uint32_t magic;
  std::uint8_t version;
  std::uint8_t type;
  std::uint16_t flags;
  std::uint32_t body_length;
  std::uint32_t body_crc;
  std::uint32_t epoch;
  std::uint32_t number;
  std::uint32_t received;
  std::uint32_t index;
  std::uint64_t transfer;
  std::uint64_t offset;
  std::uint64_t argument;
  std::uint32_t code;
  std::uint32_t header_crc;
};
static_assert(sizeof(layout) == header_size && std::is_trivial_v<layout>);
static_assert(std::has_unique_object_representations_v<layout>, "no padding");
static_assert(std::endian::native == std::endian::little, "the codec copies integers as they lie in memory");

constexpr std::size_t crc_covers = header_size - sizeof(std::uint32_t);

bool is_known(std::uint8_t type) noexcept {
  const auto value = static_cast<frame_type>(type);
  return (value >= frame_type::hello && value <= frame_type::goodbye) || is_numbered(value) ||
         (value >= frame_type::acknowledge && value <= frame_type::landed);
}

} // namespace

errc reason_of(std::uint32_t code, errc otherwise) noexcept {
  const auto value = static_cast<errc>(code);
  return hint(value).empty() ? otherwise : value; // every error has one
}

void encode(const frame_header& header, std::span<std::byte, header_size> out) noexcept {
  layout raw{.magic = magic,
             .version = version,
             .type = static_cast<std::uint8_t>(header.type),
             .flags = header.flags,
             .body_length = header.body_length,
             .body_crc = header.body_crc,
             .epoch = header.epoch,
             .number = header.number,
             .received = header.received,
             .index = header.index,
             .transfer = header.transfer,
             .offset = header.offset,
             .argument = header.argument,
             .code = header.code,
             .header_crc = 0};
  std::memcpy(out.data(), &raw, header_size);
  raw.header_crc = crc32c(out.first(crc_covers));
  std::memcpy(out.data() + crc_covers, &raw.header_crc, sizeof raw.header_crc);
}

result<frame_header> decode(std::span<const std::byte, header_size> bytes) {
  layout raw;
  std::memcpy(&raw, bytes.data(), header_size);
  if (raw.magic != magic) return error(errc::not_weft, fmt::format("frame begins with {:#010x}", raw.magic));
  if (raw.header_crc != crc32c(bytes.first(crc_covers))) {
    return error(errc::protocol_error, "frame header fails its checksum");
  }
  if (raw.version != version) {
    return error(errc::version_mismatch,
                 fmt::format("peer speaks version {}, this is version {}", raw.version, version));
  }
  if (!is_known(raw.type)) return error(errc::protocol_error, fmt::format("unknown frame type {}", raw.type));
  if ((raw.flags & ~(flag_body_crc | flag_tell | flag_held)) != 0) {
    return error(errc::protocol_error, fmt::format("unknown frame flags {:#x}", raw.flags));
  }
  const auto type = static_cast<frame_type>(raw.type);
  const auto limit = type == frame_type::slice ? largest_slice : largest_message;
  if (raw.body_length > limit) {
    return error(errc::protocol_error, fmt::format("frame body of {} bytes, limit {}", raw.body_length, limit));
  }
  return frame_header{.type = type,
                      .flags = raw.flags,
                      .body_length = raw.body_length,
                      .body_crc = raw.body_crc,
                      .epoch = raw.epoch,
                      .number = raw.number,
                      .received = raw.received,
                      .index = raw.index,
                      .transfer = raw.transfer,
                      .offset = raw.offset,
                      .argument = raw.argument,
                      .code = raw.code};
}

} // namespace weft::wire
