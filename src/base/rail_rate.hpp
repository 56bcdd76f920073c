// A rate on a rail: bytes per second, or percent of what the rail carries. A value: no owner, no thread.
#pragma once

#include <weft/error.hpp>
#include <weft/units.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

class rail_rate {
public:
  constexpr rail_rate() noexcept = default;
  constexpr explicit rail_rate(bytes_per_second rate) noexcept : rate_(rate) {}
  /// Of a rail, in hundredths of a percent: up to `whole`.
  [[nodiscard]] static constexpr rail_rate of_rail(std::uint32_t hundredths) noexcept {
    rail_rate made;
    made.hundredths_ = hundredths;
    return made;
  }
  static constexpr std::uint32_t whole = 10'000;

  [[nodiscard]] constexpr bool is_none() const noexcept { return rate_.value() == 0 && hundredths_ == 0; }
  /// 0: it is no part of a rail.
  [[nodiscard]] constexpr std::uint32_t hundredths() const noexcept { return hundredths_; }
  /// Bytes per second on a rail that carries `carries`; 0: none, or a part of what is not known.
  [[nodiscard]] constexpr std::uint64_t on(bytes_per_second carries) const noexcept {
    if (hundredths_ == 0 || carries.value() == 0) return rate_.value();
    return std::max<std::uint64_t>(carries.value() / whole * hundredths_, 1);
  }

  /// Parts of a rail are beyond none, and below every rate: within every range from none on.
  friend constexpr auto operator<=>(const rail_rate&, const rail_rate&) noexcept = default;

private:
  bytes_per_second rate_;
  std::uint32_t hundredths_ = 0;
};

/// Reads "20%", "12.5%", or what parse_rate reads. Errors: invalid_argument, also beyond 100%; too_large.
[[nodiscard]] result<rail_rate> parse_rail_rate(std::string_view text);
/// parse_rail_rate reads it back.
[[nodiscard]] std::string to_string(rail_rate value);

} // namespace weft
