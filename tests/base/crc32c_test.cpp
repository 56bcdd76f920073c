// CRC32C against its published check values and a bitwise reference, and combining against the CRC of the whole.
#include "base/crc32c.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

using weft::crc32c;
using weft::crc32c_combine;
using weft::crc32c_shift;

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}

std::vector<std::byte> random_bytes(std::size_t length, std::uint64_t seed) {
  weft::random_source random{seed};
  std::vector<std::byte> bytes(length);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random.below(256));
  }
  return bytes;
}

std::uint32_t reference(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const std::byte byte : bytes) {
    crc ^= static_cast<std::uint32_t>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
    }
  }
  return ~crc;
}

} // namespace

TEST_CASE("crc32c has the published check values") {
  CHECK(crc32c(bytes_of("123456789")) == 0xe3069283);
  CHECK(crc32c({}) == 0);
  // RFC 3720, B.4
  const std::vector<std::byte> zeros(32, std::byte{0});
  const std::vector<std::byte> ones(32, std::byte{0xff});
  CHECK(crc32c(zeros) == 0x8a9136aa);
  CHECK(crc32c(ones) == 0x62a8ab43);
}

TEST_CASE("crc32c agrees with a bitwise reference at every alignment and length") {
  const auto bytes = random_bytes(300, 1);
  for (std::size_t start = 0; start < 16; ++start) {
    for (std::size_t length = 0; start + length <= bytes.size(); length += 7) {
      const auto part = std::span{bytes}.subspan(start, length);
      REQUIRE(crc32c(part) == reference(part));
    }
  }
}

TEST_CASE("crc32c continues where it left off") {
  const auto bytes = random_bytes(1000, 2);
  const std::span whole{bytes};
  for (const std::size_t cut : {0, 1, 63, 500, 999, 1000}) {
    CHECK(crc32c(whole.subspan(cut), crc32c(whole.first(cut))) == crc32c(whole));
  }
}

TEST_CASE("combined CRCs are those of the whole, for any two lengths") {
  const auto bytes = random_bytes(200'000, 3);
  weft::random_source random{4};
  for (int round = 0; round < 200; ++round) {
    const auto whole = std::span{bytes}.first(random.below(bytes.size() + 1));
    const auto cut = random.below(whole.size() + 1);
    const auto first = crc32c(whole.first(cut));
    const auto second = crc32c(whole.subspan(cut));
    REQUIRE(crc32c_combine(first, second, whole.size() - cut) == crc32c(whole));
    REQUIRE(crc32c_shift{whole.size() - cut}.combine(first, second) == crc32c(whole));
  }
}

TEST_CASE("a slice's CRC comes from those of its blocks") {
  constexpr std::size_t block = 65536;
  const auto bytes = random_bytes(5 * block, 5);
  const crc32c_shift shift{block};
  std::uint32_t combined = 0;
  for (std::size_t at = 0; at < bytes.size(); at += block) {
    combined = shift.combine(combined, crc32c(std::span{bytes}.subspan(at, block)));
  }
  CHECK(combined == crc32c(bytes));
}

TEST_CASE("combining works for lengths that no buffer has") {
  // Shifting by a + b is shifting by a and then by b, also where lengths pass 2^32.
  const std::uint64_t huge = (std::uint64_t{1} << 40) + 12345;
  const std::uint32_t crc = 0xdeadbeef;
  CHECK(crc32c_combine(crc32c_combine(crc, 0, huge), 0, huge) == crc32c_combine(crc, 0, 2 * huge));
  CHECK(crc32c_shift{huge}.combine(crc, 7) == crc32c_combine(crc, 7, huge));
}
