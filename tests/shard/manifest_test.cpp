// The stored form of a manifest, that no damage to it goes unseen, and CRCs of ranges out of those of blocks.
#include "shard/manifest.hpp"

#include "base/crc32c.hpp"
#include "store_fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>

namespace weft {
namespace {

manifest sample(const test::bytes& data) {
  return {"train/\xc3\xa9.tar", {0x0123456789abcdef, 0xfedcba9876543210}, data.size(), test::block_crcs(data)};
}

TEST_CASE("a manifest comes back from its stored form, whatever its size") {
  for (const std::size_t size : {0u, 1u, 65535u, 65536u, 65537u, 300000u}) {
    const auto value = sample(test::random_bytes(size, size));
    CHECK(decode_manifest(encode(value), "m").value() == value);
    const auto header = decode_manifest_header(encode(value), "m").value();
    CHECK(header.name == value.name);
    CHECK(header.version == value.version);
    CHECK(header.size == value.size);
  }
}

TEST_CASE("the stored form is the one that is documented") {
  const manifest value{"ab", {1, 2}, 3, {0x01020304}};
  const auto stored = encode(value);
  const std::string_view text{reinterpret_cast<const char*>(stored.data()), stored.size()};
  CHECK(text.size() == 8 + 4 + 16 + 8 + 2 + 2 + 4 + 4 + 4);
  CHECK(text.substr(0, 8) == "weftmst1");
  CHECK(text.substr(8, 4) == std::string_view("\1\0\0\0", 4));
  CHECK(text.substr(28, 8) == std::string_view("\3\0\0\0\0\0\0\0", 8));
  CHECK(text.substr(36, 4) == std::string_view("\2\0ab", 4));
  CHECK(text.substr(44, 4) == "\4\3\2\1");
}

TEST_CASE("a manifest that is cut short anywhere is bad_manifest and names its file") {
  const auto stored = encode(sample(test::random_bytes(200000, 1)));
  for (std::size_t length = 0; length < stored.size(); ++length) {
    const auto decoded = decode_manifest(std::span(stored).first(length), "folder/file");
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error() == errc::bad_manifest);
    CHECK(decoded.error().where().starts_with("folder/file: "));
  }
}

TEST_CASE("a bit that flipped anywhere is seen") {
  auto stored = encode(sample(test::random_bytes(200000, 2)));
  for (std::size_t bit = 0; bit < stored.size() * 8; ++bit) {
    stored[bit / 8] ^= std::byte(1 << bit % 8);
    const auto decoded = decode_manifest(stored, "m");
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error() == errc::bad_manifest);
    stored[bit / 8] ^= std::byte(1 << bit % 8);
  }
}

TEST_CASE("bytes behind a manifest make it a bad one") {
  auto stored = encode(sample(test::random_bytes(70000, 3)));
  stored.insert(stored.end(), 4, std::byte{});
  CHECK(decode_manifest(stored, "m").error() == errc::bad_manifest);
}

TEST_CASE("a claimed size allocates nothing that the file does not hold") {
  const manifest honest{"a", {1, 1}, 1, {0}};
  auto stored = encode(honest);
  stored.resize(stored.size() - 8); // the header, with its checksum
  std::fill_n(stored.begin() + 28, 8, std::byte{0xff});
  const auto crc = crc32c(std::span(stored).first(stored.size() - 4));
  std::memcpy(&stored[stored.size() - 4], &crc, sizeof crc);
  CHECK(decode_manifest_header(stored, "m").value().size == ~0ull);
  CHECK(decode_manifest(stored, "m").error() == errc::bad_manifest);
}

TEST_CASE("the CRC of every range of whole blocks is that of its bytes") {
  for (const std::size_t size : {1u, 65536u, 5u * 65536u, 5u * 65536u + 77u}) {
    const auto data = test::random_bytes(size, size);
    const auto value = sample(data);
    for (std::size_t first = 0; first < value.block_crcs.size(); ++first) {
      for (std::size_t last = first; last < value.block_crcs.size(); ++last) {
        const auto offset = first * block_size;
        const auto length = std::min<std::size_t>((last + 1) * block_size, size) - offset;
        CHECK(value.covers_blocks(offset, length));
        CHECK(value.range_crc(offset, length) == crc32c(std::span(data).subspan(offset, length)));
      }
    }
    CHECK(value.range_crc(0, 0) == 0);
  }
}

TEST_CASE("a range that splits a block or leaves the shard has no CRC of blocks") {
  const auto value = sample(test::random_bytes(2 * block_size + 10, 5));
  CHECK(value.covers_blocks(block_size, block_size + 10));
  CHECK_FALSE(value.covers_blocks(1, block_size - 1));
  CHECK_FALSE(value.covers_blocks(0, 1));
  CHECK_FALSE(value.covers_blocks(2 * block_size, 9));
  CHECK_FALSE(value.covers_blocks(2 * block_size, block_size));
  CHECK_FALSE(value.covers_blocks(block_size, ~0ull));
  CHECK_FALSE(value.covers_blocks(3 * block_size, 0));
}

} // namespace
} // namespace weft
