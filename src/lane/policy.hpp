// What an administrator grants each lane of a rail.
#pragma once

#include "base/tunables.hpp"

#include "weft/lane.hpp"

#include <array>
#include <cstdint>

namespace weft::lanes {

/// What a lane may have of a rail, in the words of mClock.
struct policy {
  std::uint32_t weight = 1;      ///< share, relative to the others', of what no reservation takes; at least 1
  std::uint64_t reservation = 0; ///< bytes per second that it gets before the others share by weight; 0: none
  std::uint64_t limit = 0;       ///< bytes per second that it does not exceed, though the rail be idle; 0: none

  friend bool operator==(const policy&, const policy&) = default;
};

/// By lane.
using policies = std::array<policy, lane_count>;

/// How the packets of a lane are marked, at both ends.
struct marks {
  std::uint8_t dscp = 0;     ///< in their header, for the network
  std::uint8_t priority = 0; ///< SO_PRIORITY of a connection, for the host's own queues
};
[[nodiscard]] marks marks_of(const tunables& limits, lane on) noexcept;

/// On a rail that carries `carries`, 0 if that is not known: then what is set in percent of it is none. Of the realtime
/// thread, or one of the data threads, which share evenly.
[[nodiscard]] policies policies_of(const tunables& limits, bytes_per_second carries) noexcept;

} // namespace weft::lanes
