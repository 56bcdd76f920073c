// The one clock of the library and its arithmetic. The engines under lane/ and link/ are handed a time_point and never
// call now() themselves.
#pragma once

#include <chrono>

namespace weft {

using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

/// The time that is `after` from `now`; a deadline beyond the clock's range is its end, one in the past is `now`.
[[nodiscard]] constexpr time_point deadline_after(time_point now, duration after) noexcept {
  if (after <= duration::zero()) return now;
  const bool beyond_end = now > time_point{} && after > time_point::max() - now;
  return beyond_end ? time_point::max() : now + after;
}

} // namespace weft
