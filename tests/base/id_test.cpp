// Ids there and back as text, and that new ones differ.
#include "weft/id.hpp"

#include <doctest/doctest.h>

#include <unordered_set>

using weft::id128;

TEST_CASE("an id reads back from its text") {
  const id128 id{0x0123456789abcdef, 0xfedcba9876543210};
  CHECK(to_string(id) == "0123456789abcdeffedcba9876543210");
  CHECK(id128::from_string(to_string(id)).value() == id);
  CHECK(id128::from_string(to_string(id128{})).value() == id128{});
}

TEST_CASE("what is no id is refused") {
  for (const char* text : {"", "0123", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
                           "0123456789ABCDEFfedcba9876543210", "+123456789abcdef-edcba9876543210",
                           "0x23456789abcdeffedcba9876543210", "0123456789abcdef fedcba987654321"}) {
    CAPTURE(text);
    const auto parsed = id128::from_string(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error() == weft::errc::invalid_argument);
  }
}

TEST_CASE("ids order by their high half first") {
  CHECK(id128{0, 5} < id128{1, 0});
  CHECK(id128{1, 0} < id128{1, 1});
}

TEST_CASE("random ids differ") {
  std::unordered_set<id128> seen;
  for (int i = 0; i < 10'000; ++i) {
    REQUIRE(seen.insert(weft::random_id()).second);
  }
}
