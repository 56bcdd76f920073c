#include "wire/grant.hpp"

#include "wire/cursor.hpp"

#include <doctest/doctest.h>

using namespace weft;
using namespace weft::wire;

namespace {

/// Memory with two keys, one for each rail.
struct known_memory {
  explicit known_memory(std::uint32_t key)
      : bytes(4096), region(std::make_shared<const registration>(
                         bytes, nullptr, nullptr, std::vector<rail_key>{{key, key + 1}, {key + 2, key + 3}})) {}
  [[nodiscard]] std::span<std::byte> part(std::size_t at, std::size_t length) {
    return std::span(bytes).subspan(at, length);
  }
  [[nodiscard]] std::uint64_t address(std::size_t at) const {
    return reinterpret_cast<std::uintptr_t>(bytes.data()) + at;
  }

  std::vector<std::byte> bytes;
  std::shared_ptr<const registration> region;
};

std::vector<std::byte> encoded(const memory::piece_list& pieces) {
  std::vector<std::byte> out;
  encode_grant(pieces, out);
  return out;
}

} // namespace

TEST_CASE("a grant names every piece, with the key of each rail") {
  known_memory one(100);
  known_memory two(200);
  memory::piece_list pieces;
  pieces.add(one.part(0, 100), one.region.get());
  pieces.add(two.part(50, 200), two.region.get());
  pieces.add(one.part(1000, 10), one.region.get());
  const auto list = decode_grant(encoded(pieces), 310).value();
  CHECK(list.pieces() == 3);
  auto part = list.at(0, 310, 0);
  CHECK(part.address == one.address(0));
  CHECK(part.length == 100);
  CHECK(part.key == 101);
  part = list.at(120, 310, 1);
  CHECK(part.address == two.address(70));
  CHECK(part.length == 180);
  CHECK(part.key == 203);
  part = list.at(300, 5, 0);
  CHECK(part.address == one.address(1000));
  CHECK(part.length == 5);
  CHECK(list.at(310, 1, 0).length == 0);
}

TEST_CASE("pieces at one distance cost a grant as much as one") {
  known_memory memory(1);
  weft::memory::piece_list strided;
  for (std::size_t i = 0; i < 60; ++i) strided.add(memory.part(i * 64, 16), memory.region.get());
  weft::memory::piece_list single;
  single.add(memory.part(0, 16), memory.region.get());
  CHECK(encoded(strided).size() == encoded(single).size());
  const auto list = decode_grant(encoded(strided), 60 * 16).value();
  for (std::size_t i = 0; i < 60; ++i) CHECK(list.at(i * 16, 16, 0).address == memory.address(i * 64));
}

TEST_CASE("memory that no device knows is not named") {
  std::vector<std::byte> bytes(100);
  memory::piece_list pieces;
  pieces.add(bytes);
  CHECK(encoded(pieces).empty());
  CHECK(decode_grant({}, 100).value().pieces() == 0);
}

TEST_CASE("a grant that is cut anywhere, or names another length, is a protocol_error") {
  known_memory memory(1);
  weft::memory::piece_list pieces;
  pieces.add(memory.part(0, 100), memory.region.get());
  pieces.add(memory.part(300, 50), memory.region.get());
  const auto whole = encoded(pieces);
  for (std::size_t length = 1; length < whole.size(); ++length) {
    CHECK(decode_grant(std::span(whole).first(length), 150).error() == errc::protocol_error);
  }
  CHECK(decode_grant(whole, 150).has_value());
  CHECK(decode_grant(whole, 149).error() == errc::protocol_error);
  CHECK(decode_grant(whole, 151).error() == errc::protocol_error);
}

TEST_CASE("a grant that lies about counts, regions or lengths is a protocol_error and costs nothing") {
  struct run {
    std::uint16_t region = 0;
    std::uint64_t length = 100;
    std::uint64_t stride = 0;
    std::uint32_t count = 1;
  };
  const auto with = [](const run& said, std::uint8_t rails = 1, std::uint16_t regions = 1) {
    std::vector<std::byte> out;
    out.reserve(1024); // g++ 12 warns of the growth that it sees through otherwise
    writer to(out);
    to.integer(rails).integer(regions);
    for (int i = 0; i < rails * regions; ++i) to.integer(std::uint32_t{7});
    to.integer(said.region).integer(std::uint64_t{4096}).integer(said.length).integer(said.stride).integer(said.count);
    return decode_grant(out, 100);
  };
  CHECK(with({}).has_value());
  CHECK(with({.length = 50, .stride = 60, .count = 2}).has_value());
  CHECK(with({.region = 1}).has_error());
  CHECK(with({.length = 0}).has_error());
  CHECK(with({.count = 0}).has_error());
  CHECK(with({.length = 1, .stride = 1, .count = 0xffffffff}).has_error());
  CHECK(with({.length = 50, .stride = 49, .count = 2}).has_error());
  CHECK(with({.length = 50, .stride = ~std::uint64_t{0}, .count = 2}).has_error());
  CHECK(with({.length = ~std::uint64_t{0}}).has_error());
  CHECK(with({}, 0).has_error());
  CHECK(with({}, 17).has_error());
  CHECK(with({}, 1, 0).has_error());
}
