// 128-bit ids that need no authority: sessions, incarnations, versions of shards.
#pragma once

#include <weft/error.hpp>
#include <weft/export.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weft {

struct id128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  friend constexpr auto operator<=>(const id128&, const id128&) noexcept = default;

  /// Reads what to_string() writes. Errors: invalid_argument.
  [[nodiscard]] WEFT_API static result<id128> from_string(std::string_view text);
};

/// 32 lower-case hexadecimal digits.
[[nodiscard]] WEFT_API std::string to_string(const id128& id);

/// An id from the kernel's random source, unique for all practical purposes and not to be guessed. Throws
/// std::system_error where the kernel has no such source.
[[nodiscard]] WEFT_API id128 random_id();

} // namespace weft

template <>
struct std::hash<weft::id128> {
  std::size_t operator()(const weft::id128& id) const noexcept {
    // Random ids need no mixing; the multiplication spreads small ones made by hand.
    return static_cast<std::size_t>((id.high ^ id.low) * 0x9e3779b97f4a7c15u ^ id.low);
  }
};
