// CRC32C by ISA-L; combining by arithmetic on polynomials over GF(2).
//
// Bits are reflected as CRC32C has them: bit 31 of a word is the coefficient of x^0. The CRC of a piece followed by n
// bytes of another is crc(first) * x^(8n) + crc(second) modulo the Castagnoli polynomial; the inversions before and
// after cancel out.
#include "base/crc32c.hpp"

#include <isa-l/crc.h>

#include <algorithm>

namespace weft {
namespace {

constexpr std::uint32_t polynomial = 0x82f63b78;
constexpr std::uint32_t one = 0x80000000;

constexpr std::uint32_t times(std::uint32_t left, std::uint32_t right) noexcept {
  std::uint32_t product = 0;
  for (std::uint32_t power = one; power != 0; power >>= 1) {
    if ((left & power) != 0) product ^= right;
    right = (right >> 1) ^ ((right & 1) != 0 ? polynomial : 0);
  }
  return product;
}

/// x^(8 * 2^k) for every k that a 64-bit length can have.
constexpr auto byte_powers = [] {
  std::array<std::uint32_t, 64> powers{};
  std::uint32_t power = one >> 8;
  for (std::uint32_t& entry : powers) {
    entry = power;
    power = times(power, power);
  }
  return powers;
}();

/// x^(8 * length).
std::uint32_t shift_by(std::uint64_t length) noexcept {
  std::uint32_t product = one;
  for (std::size_t k = 0; length != 0; ++k, length >>= 1) {
    if ((length & 1) != 0) product = times(byte_powers[k], product);
  }
  return product;
}

} // namespace

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t previous) noexcept {
  constexpr std::size_t most = std::size_t{1} << 30; // ISA-L takes its length as an int
  std::uint32_t running = ~previous;
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(bytes.size(), most));
    // ISA-L's signature lacks the const; it only reads.
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(part.data()));
    running = crc32_iscsi(data, static_cast<int>(part.size()), running);
    bytes = bytes.subspan(part.size());
  }
  return ~running;
}

std::uint32_t crc32c_combine(std::uint32_t first, std::uint32_t second, std::uint64_t second_length) noexcept {
  return times(shift_by(second_length), first) ^ second;
}

crc32c_shift::crc32c_shift(std::uint64_t length) noexcept {
  const std::uint32_t factor = shift_by(length);
  for (unsigned byte = 0; byte < tables_.size(); ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) {
      tables_[byte][value] = times(factor, value << (8 * byte));
    }
  }
}

} // namespace weft
