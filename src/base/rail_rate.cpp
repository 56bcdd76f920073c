#include "base/rail_rate.hpp"

#include <charconv>
#include <cmath>

#include <fmt/format.h>

namespace weft {

result<rail_rate> parse_rail_rate(std::string_view text) {
  if (!text.ends_with('%')) {
    const auto rate = parse_rate(text);
    if (!rate) return rate.error();
    return rail_rate(*rate);
  }
  const auto number = text.substr(0, text.size() - 1);
  double percent = 0;
  const auto [end, failure] =
      std::from_chars(number.data(), number.data() + number.size(), percent, std::chars_format::fixed);
  const auto hundredths = std::round(percent * 100);
  const bool whole = failure == std::errc{} && end == number.data() + number.size() &&
                     std::abs(hundredths - percent * 100) < 1e-6 && hundredths >= 1 && hundredths <= rail_rate::whole;
  if (!whole) {
    return error{errc::invalid_argument, fmt::format("\"{}\" is not a part of a rail from 0.01% to 100%", text)};
  }
  return rail_rate::of_rail(static_cast<std::uint32_t>(hundredths));
}

std::string to_string(rail_rate value) {
  if (value.hundredths() == 0) return format_rate(bytes_per_second(value.on({})));
  return fmt::format("{}%", value.hundredths() / 100.0);
}

} // namespace weft
