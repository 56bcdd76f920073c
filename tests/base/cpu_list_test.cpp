#include "base/cpu_list.hpp"

#include <doctest/doctest.h>

using namespace weft;

TEST_CASE("a list of processors reads back what it writes") {
  for (const auto* text : {"", "0", "0-2", "0,1", "3,5-8,1023"}) {
    CAPTURE(text);
    CHECK(to_string(parse_cpu_list(text).value()) == text);
  }
  CHECK(to_string(parse_cpu_list("8,0-1,2").value()) == "0-2,8");
  CHECK(parse_cpu_list("0-3,8")->has(3));
  CHECK_FALSE(parse_cpu_list("0-3,8")->has(4));
}

TEST_CASE("what is no list of processors is refused") {
  for (const auto* text : {",", "0,", ",0", "a", "0-", "-3", "3-0", "1024", "0--2", "0 ,1", "1-2-3"}) {
    CAPTURE(text);
    CHECK(parse_cpu_list(text).error() == errc::invalid_argument);
  }
}
