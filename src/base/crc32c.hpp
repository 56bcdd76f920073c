// CRC32C (Castagnoli) of bytes, and of bytes that are known only by the CRCs of their parts: a slice's CRC comes from
// those of its stored blocks. Pure functions; a crc32c_shift is immutable once built.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace weft {

/// The CRC32C of `bytes`, continuing from `previous`: crc32c(ab) == crc32c(b, crc32c(a)).
[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous = 0) noexcept;

/// The CRC32C of two pieces in a row from those of each. A few dozen nanoseconds for each bit set in `second_length`;
/// for many pieces of one length, crc32c_shift is faster.
[[nodiscard]] std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second,
                                           std::uint64_t second_length) noexcept;

/// crc32c_combine for second pieces of one fixed length: four table lookups each, for 4 KiB of tables.
class crc32c_shift {
public:
  explicit crc32c_shift(std::uint64_t length) noexcept;

  /// The CRC32C of a piece with `first` followed by a piece of this object's length with `second`.
  [[nodiscard]] std::uint32_t combine(std::uint32_t first, std::uint32_t second) const noexcept {
    return tables_[0][first & 0xff] ^ tables_[1][(first >> 8) & 0xff] ^ tables_[2][(first >> 16) & 0xff] ^
           tables_[3][first >> 24] ^ second;
  }

private:
  std::array<std::array<std::uint32_t, 256>, 4> tables_;
};

} // namespace weft
