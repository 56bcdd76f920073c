// Deadlines at the ends of the clock's range.
#include "base/clock.hpp"

#include <doctest/doctest.h>

using namespace std::chrono_literals;
using weft::deadline_after;
using weft::time_point;

TEST_CASE("a deadline is so much after now") {
  const time_point now{1000s};
  CHECK(deadline_after(now, 2s) == time_point{1002s});
}

TEST_CASE("a deadline beyond the clock's range is its end") {
  const time_point now{1000s};
  CHECK(deadline_after(now, weft::duration::max()) == time_point::max());
  CHECK(deadline_after(now, time_point::max() - now) == time_point::max());
  CHECK(deadline_after(now, time_point::max() - now - 1ns) == time_point::max() - 1ns);
  CHECK(deadline_after(time_point::max(), 1ns) == time_point::max());
}

TEST_CASE("a deadline in the past is now") {
  const time_point now{1000s};
  CHECK(deadline_after(now, -1s) == now);
  CHECK(deadline_after(now, weft::duration::min()) == now);
}

TEST_CASE("a clock that began below zero does not overflow") {
  CHECK(deadline_after(time_point::min(), weft::duration::max()) <= time_point{});
}
