// The bitmap counts each index once.
#include "link/bitmap.hpp"

#include <doctest/doctest.h>

using weft::links::bitmap;

TEST_CASE("an index counts once") {
  bitmap slices(130);
  CHECK(slices.set(129));
  CHECK_FALSE(slices.set(129));
  CHECK(slices.set(0));
  CHECK(slices.set(64));
  CHECK(slices.count() == 3);
  CHECK(slices.test(64));
  CHECK_FALSE(slices.test(63));
}

TEST_CASE("a bitmap is full when every index is set, and an empty one from the start") {
  bitmap slices(65);
  for (std::uint32_t i = 0; i < 65; ++i) {
    CHECK_FALSE(slices.full());
    slices.set(i);
  }
  CHECK(slices.full());
  CHECK(bitmap(0).full());
}
