#include "memory/pieces.hpp"

#include <doctest/doctest.h>

#include <array>

using namespace weft::memory;

namespace {

std::array<std::byte, 100> bytes;

std::span<std::byte> part(std::size_t offset, std::size_t length) {
  return std::span(bytes).subspan(offset, length);
}

} // namespace

TEST_CASE("pieces read as one run of bytes") {
  piece_list list;
  list.add(part(50, 10));
  list.add(part(0, 0));
  list.add(part(20, 5));
  CHECK(list.length() == 15);
  std::array<iovec, 4> out;
  REQUIRE(list.gather(8, 5, out) == 2);
  CHECK(out[0].iov_base == &bytes[58]);
  CHECK(out[0].iov_len == 2);
  CHECK(out[1].iov_base == &bytes[20]);
  CHECK(out[1].iov_len == 3);
}

TEST_CASE("gathering stops when there is no more room") {
  piece_list list;
  for (std::size_t i = 0; i < 10; ++i) list.add(part(i * 10, 1));
  std::array<iovec, 3> out;
  CHECK(list.gather(0, 10, out) == 3);
  std::size_t visited = 0;
  list.for_each(0, 10, [&](std::span<std::byte> each) {
    CHECK(each.data() == &bytes[visited * 10]);
    ++visited;
  });
  CHECK(visited == 10);
}

TEST_CASE("a list keeps what it points into") {
  const auto owner = std::make_shared<const weft::registration>(part(0, 10), nullptr);
  {
    piece_list list(part(0, 10), owner);
    CHECK(owner.use_count() == 2);
  }
  CHECK(owner.use_count() == 1);
}
