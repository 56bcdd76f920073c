// A set of processors by number, and its text: "0-3,8". A value.
#pragma once

#include <weft/error.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

struct cpu_list {
  static constexpr std::size_t most = 1024; ///< as many as the kernel's fixed-size set has

  [[nodiscard]] constexpr bool empty() const noexcept { return *this == cpu_list{}; }
  [[nodiscard]] constexpr bool has(std::size_t cpu) const noexcept { return (words[cpu / 64] >> (cpu % 64)) & 1; }
  constexpr void add(std::size_t cpu) noexcept { words[cpu / 64] |= std::uint64_t{1} << (cpu % 64); }

  friend constexpr auto operator<=>(const cpu_list&, const cpu_list&) noexcept = default;

  std::array<std::uint64_t, most / 64> words{};
};

/// The end of the order that comparisons have, which means nothing else.
inline constexpr cpu_list every_cpu = [] {
  cpu_list all;
  all.words.fill(~std::uint64_t{0});
  return all;
}();

/// Errors: invalid_argument.
[[nodiscard]] result<cpu_list> parse_cpu_list(std::string_view text);
/// Runs of three and more as ranges; parse_cpu_list reads it back.
[[nodiscard]] std::string to_string(const cpu_list& value);

} // namespace weft
