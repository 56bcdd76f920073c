// Equal seeds give equal sequences, and the distributions are what they say.
#include "base/random.hpp"

#include <doctest/doctest.h>

#include <array>

using weft::random_source;

TEST_CASE("equal seeds give equal sequences, on every machine") {
  random_source left{42};
  random_source right{42};
  for (int i = 0; i < 100; ++i) {
    REQUIRE(left.next() == right.next());
  }
  // The first value of xoshiro256** seeded by splitmix64 of 42, as other implementations have it.
  CHECK(random_source{42}.next() == 1546998764402558742u);
}

TEST_CASE("neighbouring seeds give different sequences") {
  CHECK(random_source{0}.next() != random_source{1}.next());
  CHECK(random_source{1}.next() != random_source{2}.next());
}

TEST_CASE("below stays below, and is even") {
  random_source random{1};
  CHECK(random.below(1) == 0);
  std::array<int, 10> counts{};
  for (int i = 0; i < 100'000; ++i) {
    ++counts.at(random.below(10));
  }
  for (const int count : counts) {
    CHECK(count > 9'500);
    CHECK(count < 10'500);
  }
  const std::uint64_t large = (std::uint64_t{1} << 63) + 1;
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(random.below(large) < large);
  }
}

TEST_CASE("chance comes true as often as it says") {
  random_source random{2};
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) {
    hits += random.chance(0.25) ? 1 : 0;
    REQUIRE_FALSE(random.chance(0));
    REQUIRE_FALSE(random.chance(-1));
    REQUIRE(random.chance(1));
    REQUIRE(random.chance(2));
  }
  CHECK(hits > 24'000);
  CHECK(hits < 26'000);
}
