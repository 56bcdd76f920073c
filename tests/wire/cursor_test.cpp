// The reader never reads beyond its bytes, and stays failed once it failed.
#include "wire/cursor.hpp"

#include <doctest/doctest.h>

using namespace weft;
using namespace weft::wire;

TEST_CASE("what the writer appends is what the reader reads") {
  std::vector<std::byte> bytes;
  bytes.reserve(64);
  const std::byte tail[] = {std::byte{9}, std::byte{8}};
  writer(bytes).integer(std::uint8_t{1}).integer(std::uint32_t{0x01020304}).id({5, 6}).text("rail").bytes(tail);
  CHECK(bytes[1] == std::byte{4}); // little-endian
  reader in(bytes);
  CHECK(in.integer<std::uint8_t>() == 1);
  CHECK(in.integer<std::uint32_t>() == 0x01020304);
  CHECK(in.id() == id128{5, 6});
  CHECK(in.text(4) == "rail");
  CHECK_FALSE(in.finished());
  CHECK(in.rest().size() == 2);
  CHECK(in.finished());
}

TEST_CASE("a read beyond the end gives zero and fails for good") {
  const std::vector<std::byte> bytes(6, std::byte{0xff});
  reader in(bytes);
  CHECK(in.integer<std::uint32_t>() == 0xffffffff);
  CHECK(in.integer<std::uint32_t>() == 0);
  CHECK_FALSE(in.ok());
  CHECK(in.integer<std::uint8_t>() == 0);
  CHECK(in.left() == 0);
  CHECK(in.rest().empty());
  CHECK_FALSE(in.finished());
}

TEST_CASE("half an id is none") {
  const std::vector<std::byte> bytes(15, std::byte{0xff});
  reader in(bytes);
  CHECK(in.id().low == 0);
  CHECK_FALSE(in.ok());
}

TEST_CASE("a text that is longer than its limit or than the bytes fails") {
  std::vector<std::byte> bytes;
  writer(bytes).text("rail");
  reader within(bytes);
  CHECK(within.text(3).empty());
  CHECK_FALSE(within.ok());
  bytes.pop_back();
  reader cut(bytes);
  CHECK(cut.text(100).empty());
  CHECK_FALSE(cut.ok());
}

TEST_CASE("nothing is read from no bytes") {
  reader in({});
  CHECK(in.finished());
  CHECK(in.take(0).empty());
  CHECK(in.ok());
  CHECK(in.text(10).empty());
  CHECK_FALSE(in.ok());
}
