// The four priority classes of traffic.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace weft {

/// A priority class, most urgent first. Requests travel on `realtime` and transfers on `bulk` unless told otherwise.
enum class lane : std::uint8_t { realtime, standard, bulk, background };

inline constexpr std::size_t lane_count = 4;

[[nodiscard]] constexpr std::string_view name(lane value) noexcept {
  constexpr std::string_view names[lane_count] = {"realtime", "standard", "bulk", "background"};
  return names[static_cast<std::size_t>(value)];
}

[[nodiscard]] constexpr std::optional<lane> lane_from_name(std::string_view text) noexcept {
  for (std::size_t i = 0; i < lane_count; ++i) {
    if (name(static_cast<lane>(i)) == text) return static_cast<lane>(i);
  }
  return std::nullopt;
}

} // namespace weft
