// Counters of a fabric at one moment.
#pragma once

#include <weft/lane.hpp>

#include <array>
#include <cstdint>

namespace weft {

/// All count from the start of the fabric.
struct metrics {
  std::uint64_t links = 0;      ///< alive now
  std::uint64_t operations = 0; ///< outstanding now
  std::uint64_t slices_sent = 0;
  std::uint64_t slices_resent = 0;
  std::uint64_t slices_verified = 0;
  std::uint64_t slices_refused = 0; ///< failed the receiver's check here
  std::uint64_t slices_dropped = 0; ///< late or repeated
  std::uint64_t bytes_verified = 0; ///< received
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_repeated = 0;
  std::uint64_t forced_fences = 0;
  std::uint64_t collateral = 0; ///< transfers that resumed because a channel was closed for another's sake
  std::uint64_t operations_failed = 0;
};

} // namespace weft
