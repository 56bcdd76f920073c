// Where the library's messages go: a sink that the program gives. Without one Weft is silent; it never writes to
// standard error by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace weft {

/// How much a message matters, least first. `off` is a threshold only; no message has it.
enum class log_level : std::uint8_t { trace, debug, info, warning, error, off };

[[nodiscard]] constexpr std::string_view name(log_level value) noexcept {
  constexpr std::string_view names[] = {"trace", "debug", "info", "warning", "error", "off"};
  return names[static_cast<std::size_t>(value)];
}

[[nodiscard]] constexpr std::optional<log_level> log_level_from_name(std::string_view text) noexcept {
  for (auto level = log_level::trace; level <= log_level::off;
       level = static_cast<log_level>(static_cast<std::uint8_t>(level) + 1)) {
    if (name(level) == text) return level;
  }
  return std::nullopt;
}

/// Takes one message without a newline; the text is valid during the call only. Any of Weft's threads may call it, two
/// at once too; it should return soon, as data waits behind it. What it throws is dropped.
using log_sink = std::function<void(log_level, std::string_view)>;

} // namespace weft
