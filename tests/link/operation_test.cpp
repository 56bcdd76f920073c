// A transfer is cut into slices of one size, and a shorter last one.
#include "link/operation.hpp"

#include <doctest/doctest.h>

using weft::links::slicing;

TEST_CASE("slices cover the transfer without gap or overlap") {
  for (const std::uint64_t length : {1U, 65535U, 65536U, 65537U, 131072U, 200001U}) {
    CAPTURE(length);
    const slicing slices{length, 65536};
    std::uint64_t covered = 0;
    for (std::uint32_t i = 0; i < slices.count(); ++i) {
      CHECK(slices.offset(i) == covered);
      CHECK(slices.length_of(i) > 0);
      CHECK(slices.length_of(i) <= 65536);
      covered += slices.length_of(i);
    }
    CHECK(covered == length);
  }
}

TEST_CASE("an empty transfer has no slices") {
  CHECK(slicing{0, 65536}.count() == 0);
  CHECK(slicing{}.count() == 0);
}

TEST_CASE("a transfer of terabytes is counted without overflow") {
  const slicing slices{std::uint64_t{1} << 45, 65536};
  CHECK(slices.count() == std::uint32_t{1} << 29);
  CHECK(slices.offset(slices.count() - 1) == (std::uint64_t{1} << 45) - 65536);
}
