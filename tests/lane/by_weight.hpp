// Policies that share by weight, and nothing else.
#pragma once

#include "lane/policy.hpp"

#include <array>
#include <cstdint>

namespace weft::lanes {

inline policies by_weight(const std::array<std::uint32_t, lane_count>& weights) noexcept {
  policies made;
  for (std::size_t i = 0; i < lane_count; ++i) made[i].weight = weights[i];
  return made;
}

} // namespace weft::lanes
