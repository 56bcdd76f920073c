// What a store knows of a shard: name, version, size, and the CRC32C of each 64 KiB block as the putting client
// computed it. Values: owned by whoever holds them; their const functions may be called from any thread.
#pragma once

#include <weft/error.hpp>
#include <weft/shard_info.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

inline constexpr std::uint64_t block_size = 64 * 1024;

/// How many blocks `size` bytes have; the last one may be shorter.
[[nodiscard]] constexpr std::uint64_t block_count(std::uint64_t size) noexcept {
  return size / block_size + (size % block_size != 0 ? 1 : 0);
}

struct manifest {
  std::string name;
  id128 version;
  std::uint64_t size = 0;
  std::vector<std::uint32_t> block_crcs;

  /// Whether [offset, offset + length) lies in the shard and consists of whole blocks (the last one as long as it is).
  [[nodiscard]] bool covers_blocks(std::uint64_t offset, std::uint64_t length) const noexcept;

  /// The CRC32C of a range for which covers_blocks() holds, from those of its blocks: nanoseconds a block.
  [[nodiscard]] std::uint32_t range_crc(std::uint64_t offset, std::uint64_t length) const noexcept;

  /// That of each slice of such a range, cut at every `slice_size` bytes, which are whole blocks.
  [[nodiscard]] std::vector<std::uint32_t> slice_crcs(std::uint64_t offset, std::uint64_t length,
                                                      std::uint64_t slice_size) const;

  /// Compares `bytes`, the whole of a block, with its CRC. Errors: checksum_mismatch, naming block and shard.
  [[nodiscard]] result<void> check_block(std::uint64_t block, std::span<const std::byte> bytes) const;

  friend bool operator==(const manifest&, const manifest&) = default;
};

/// The front of a stored manifest, its header, has a checksum of its own so that a catalogue is loaded without the
/// CRCs. No header is longer; decode_manifest_header() of so many bytes (or of the whole file, if shorter) suffices.
inline constexpr std::size_t longest_manifest_header = 2048;

/// The stored form, little-endian: magic (8 bytes), format (32 bits), version (2 x 64), size (64), length of the name
/// (16), name, CRC32C of all that (32); then the CRC of each block (32 each), and the CRC32C of everything before (32).
[[nodiscard]] std::vector<std::byte> encode(const manifest& value);

/// `file` names the source in errors. Errors: bad_manifest.
[[nodiscard]] result<manifest> decode_manifest(std::span<const std::byte> bytes, std::string_view file);
[[nodiscard]] result<shard_info> decode_manifest_header(std::span<const std::byte> bytes, std::string_view file);

} // namespace weft
