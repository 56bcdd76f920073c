// Which of a link's channels. A lane's are numbered from 0; those that follow one another in a place differ by epoch.
#pragma once

#include "weft/lane.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>

namespace weft::wire {

/// Of one lane of a link, at once.
inline constexpr std::size_t most_channels = 8;
/// Small messages and what little goes beside bulk have no use for more than one.
[[nodiscard]] constexpr std::size_t most_channels_of(lane on) noexcept {
  return on == lane::bulk ? most_channels : 1;
}
inline constexpr std::size_t place_count = most_channels * lane_count;

struct place {
  lane carries{};
  std::uint8_t number = 0; ///< below most_channels

  constexpr place() = default;
  constexpr place(lane on, std::uint8_t which = 0) noexcept : carries(on), number(which) {}

  /// Below place_count; what frames say. That of a lane's first channel is the lane itself.
  [[nodiscard]] constexpr std::uint32_t index() const noexcept {
    return number * static_cast<std::uint32_t>(lane_count) + static_cast<std::uint32_t>(carries);
  }
  [[nodiscard]] static constexpr place at(std::uint32_t index) noexcept {
    return {static_cast<lane>(index % lane_count), static_cast<std::uint8_t>(index / lane_count)};
  }

  [[nodiscard]] static constexpr bool is_one(std::uint32_t index) noexcept {
    return index < place_count && at(index).number < most_channels_of(at(index).carries);
  }

  friend auto operator<=>(const place&, const place&) = default;
};

/// "bulk", and "bulk.1" for the second one.
[[nodiscard]] inline std::string to_text(place of) {
  const std::string first(name(of.carries));
  return of.number == 0 ? first : first + '.' + std::to_string(of.number);
}

} // namespace weft::wire
