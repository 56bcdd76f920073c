// The stored form of manifests, and CRCs of ranges.
#include "shard/manifest.hpp"

#include "base/crc32c.hpp"
#include "shard/name.hpp"
#include "wire/cursor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace weft {
namespace {

constexpr std::uint64_t magic = 0x3174736d74666577; // "weftmst1" as it lies in the file
constexpr std::uint32_t format = 1;
constexpr std::size_t fixed_part = 8 + 4 + 16 + 8 + 2;

static_assert(longest_manifest_header >= fixed_part + longest_shard_name + sizeof(std::uint32_t));

error damaged(std::string_view file, std::string_view what) {
  return {errc::bad_manifest, fmt::format("{}: {}", file, what)};
}

/// The header and how many bytes it takes.
struct decoded_header {
  shard_info header;
  std::size_t length = 0;
};

result<decoded_header> decode_front(std::span<const std::byte> bytes, std::string_view file) {
  wire::reader in{bytes};
  if (in.integer<std::uint64_t>() != magic) return damaged(file, "not a manifest");
  if (const auto found = in.integer<std::uint32_t>(); in.ok() && found != format) {
    return damaged(file, fmt::format("format {} is not known, only {}", found, format));
  }
  decoded_header front;
  front.header.version = in.id();
  front.header.size = in.integer<std::uint64_t>();
  front.header.name = in.text(longest_shard_name);
  front.length = bytes.size() - in.left();
  const auto claimed = in.integer<std::uint32_t>();
  if (!in.ok()) return damaged(file, "header is cut short");
  if (crc32c(bytes.first(front.length)) != claimed) return damaged(file, "header does not match its checksum");
  front.length += sizeof claimed;
  if (!check_shard_name(front.header.name)) return damaged(file, "holds an invalid name");
  return front;
}

} // namespace

bool manifest::covers_blocks(std::uint64_t offset, std::uint64_t length) const noexcept {
  if (offset > size || length > size - offset || offset % block_size != 0) return false;
  return (offset + length) % block_size == 0 || offset + length == size;
}

std::uint32_t manifest::range_crc(std::uint64_t offset, std::uint64_t length) const noexcept {
  static const crc32c_shift whole_block{block_size};
  assert(covers_blocks(offset, length));
  std::uint32_t crc = 0;
  std::uint64_t block = offset / block_size;
  for (; length >= block_size; length -= block_size) {
    crc = whole_block.combine(crc, block_crcs[block++]);
  }
  return length == 0 ? crc : crc32c_combine(crc, block_crcs[block], length);
}

std::vector<std::uint32_t> manifest::slice_crcs(std::uint64_t offset, std::uint64_t length,
                                                std::uint64_t slice_size) const {
  std::vector<std::uint32_t> crcs;
  crcs.reserve((length + slice_size - 1) / slice_size);
  for (std::uint64_t at = 0; at < length; at += slice_size) {
    crcs.push_back(range_crc(offset + at, std::min(slice_size, length - at)));
  }
  return crcs;
}

result<void> manifest::check_block(std::uint64_t block, std::span<const std::byte> bytes) const {
  if (crc32c(bytes) == block_crcs[block]) return {};
  return error{errc::checksum_mismatch, fmt::format("stored: block {} of shard '{}'", block, name)};
}

std::vector<std::byte> encode(const manifest& value) {
  assert(value.block_crcs.size() == block_count(value.size) && value.name.size() <= longest_shard_name);
  std::vector<std::byte> bytes;
  bytes.reserve(fixed_part + value.name.size() + sizeof(std::uint32_t) * (value.block_crcs.size() + 2));
  wire::writer out{bytes};
  out.integer(magic).integer(format).id(value.version).integer(value.size).text(value.name);
  out.integer(crc32c(bytes));
  for (const std::uint32_t crc : value.block_crcs) {
    out.integer(crc);
  }
  out.integer(crc32c(bytes));
  return bytes;
}

result<shard_info> decode_manifest_header(std::span<const std::byte> bytes, std::string_view file) {
  auto front = decode_front(bytes, file);
  if (!front) return front.error();
  return std::move(front->header);
}

result<manifest> decode_manifest(std::span<const std::byte> bytes, std::string_view file) {
  auto front = decode_front(bytes, file);
  if (!front) return front.error();
  const auto [header, header_length] = std::move(*front);
  const auto body = bytes.subspan(header_length);
  const auto blocks = block_count(header.size);
  // Compared in this order, nothing overflows and nothing is allocated for a size that the file only claims.
  if (body.size() % sizeof(std::uint32_t) != 0 || body.size() / sizeof(std::uint32_t) != blocks + 1) {
    return damaged(file, fmt::format("{} bytes of block checksums do not fit {} blocks", body.size(), blocks));
  }
  wire::reader in{body};
  manifest value{header.name, header.version, header.size, std::vector<std::uint32_t>(blocks)};
  for (std::uint32_t& crc : value.block_crcs) {
    crc = in.integer<std::uint32_t>();
  }
  if (crc32c(bytes.first(bytes.size() - sizeof(std::uint32_t))) != in.integer<std::uint32_t>()) {
    return damaged(file, "does not match its checksum");
  }
  return value;
}

} // namespace weft
