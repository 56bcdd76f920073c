#include "lane/policy.hpp"

namespace weft::lanes {

policies policies_of(const tunables& limits) noexcept {
  return {{
      {limits.lane_realtime_weight, limits.lane_realtime_reservation.value(), limits.lane_realtime_limit.value()},
      {limits.lane_standard_weight, limits.lane_standard_reservation.value(), limits.lane_standard_limit.value()},
      {limits.lane_bulk_weight, limits.lane_bulk_reservation.value(), limits.lane_bulk_limit.value()},
      {limits.lane_background_weight, limits.lane_background_reservation.value(), limits.lane_background_limit.value()},
  }};
}

policies by_weight(const std::array<std::uint32_t, lane_count>& weights) noexcept {
  policies made;
  for (std::size_t i = 0; i < lane_count; ++i) made[i].weight = weights[i];
  return made;
}

} // namespace weft::lanes
