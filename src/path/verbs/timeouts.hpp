// What InfiniBand's codes of times stand for.
#pragma once

#include "base/clock.hpp"
#include "base/tunables.hpp"

#include <chrono>
#include <cstdint>

namespace weft::path::verbs {

/// 4.096 us * 2^exponent (IBA 9.9.2.1.1).
[[nodiscard]] constexpr duration ack_timeout_of(std::uint8_t exponent) noexcept {
  return std::chrono::nanoseconds(std::uint64_t{4096} << exponent);
}

/// Of the timeout that lasts at least as long as verbs.ack_timeout.
[[nodiscard]] constexpr std::uint8_t ack_timeout_exponent(const tunables& limits) noexcept {
  std::uint8_t exponent = 1;
  while (exponent < 31 && ack_timeout_of(exponent) < limits.verbs_ack_timeout) ++exponent;
  return exponent;
}

/// What verbs.rnr_timer stands for (IBA 9.7.5.2.8): 10 us doubled with every second code, and half as much again with
/// the one between.
[[nodiscard]] constexpr duration rnr_pause(const tunables& limits) noexcept {
  const auto code = limits.verbs_rnr_timer;
  if (code < 2) return std::chrono::microseconds(10);
  return std::chrono::microseconds(code % 2 == 0 ? 10 : 15) * (std::int64_t{1} << (code / 2));
}

} // namespace weft::path::verbs
