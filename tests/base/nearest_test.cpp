// Which known name a mistyped one finds.
#include "base/nearest.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>

using weft::nearest_name;

namespace {
constexpr std::array<std::string_view, 4> known = {"slice.size", "shard.window", "shard.chunk", "listen"};
} // namespace

TEST_CASE("a mistyped name finds the one that was meant") {
  CHECK(nearest_name("slice.size", known) == "slice.size");
  CHECK(nearest_name("slice.sise", known) == "slice.size");
  CHECK(nearest_name("slice_size", known) == "slice.size");
  CHECK(nearest_name("slise.siez", known) == "slice.size");
  CHECK(nearest_name("shard.windw", known) == "shard.window");
  CHECK(nearest_name("listne", known) == "listen");
}

TEST_CASE("a name unlike all others finds none") {
  CHECK(nearest_name("banana", known).empty());
  CHECK(nearest_name("", known).empty());
  CHECK(nearest_name(std::string(100'000, 'x'), known).empty());
  CHECK(nearest_name("listen", {}).empty());
}
