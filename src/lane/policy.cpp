#include "lane/policy.hpp"

#include <utility>

namespace weft::lanes {

policies policies_of(const tunables& limits, bytes_per_second carries) noexcept {
  const auto part = [&](rail_rate of_all) { return of_all.on(carries) / limits.threads_data; };
  return {{
      {1, 0, limits.lane_realtime_limit.on(carries)}, // alone on its thread
      {limits.lane_standard_weight, part(limits.lane_standard_reservation), part(limits.lane_standard_limit)},
      {limits.lane_bulk_weight, part(limits.lane_bulk_reservation), part(limits.lane_bulk_limit)},
      {limits.lane_background_weight, part(limits.lane_background_reservation), part(limits.lane_background_limit)},
  }};
}

marks marks_of(const tunables& limits, lane on) noexcept {
  const std::array<std::pair<std::uint32_t, std::uint32_t>, lane_count> all = {{
      {limits.lane_realtime_dscp, limits.lane_realtime_priority},
      {limits.lane_standard_dscp, limits.lane_standard_priority},
      {limits.lane_bulk_dscp, limits.lane_bulk_priority},
      {limits.lane_background_dscp, limits.lane_background_priority},
  }};
  const auto [dscp, priority] = all[static_cast<std::size_t>(on)];
  return {static_cast<std::uint8_t>(dscp), static_cast<std::uint8_t>(priority)};
}

} // namespace weft::lanes
