// Quantities as people write them. Numbers are read exactly, in integers: 1.5KiB is 1536 bytes, and 0.3B is an error.
// Pure functions.
#include <weft/units.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <span>

namespace weft {
namespace {

struct unit {
  std::string_view suffix;
  std::uint64_t size;
};

constexpr unit byte_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", std::uint64_t{1} << 10},
    {"MiB", std::uint64_t{1} << 20},
    {"GiB", std::uint64_t{1} << 30},
    {"TiB", std::uint64_t{1} << 40},
    {"K", std::uint64_t{1} << 10},
    {"M", std::uint64_t{1} << 20},
    {"G", std::uint64_t{1} << 30},
    {"T", std::uint64_t{1} << 40},
    {"k", std::uint64_t{1} << 10},
    {"m", std::uint64_t{1} << 20},
    {"g", std::uint64_t{1} << 30},
    {"t", std::uint64_t{1} << 40},
    {"kB", 1'000},
    {"KB", 1'000},
    {"MB", 1'000'000},
    {"GB", 1'000'000'000},
    {"TB", 1'000'000'000'000},
};

constexpr unit bit_units[] = {
    {"b", 1}, {"kb", 1'000}, {"Mb", 1'000'000}, {"Gb", 1'000'000'000}, {"Tb", 1'000'000'000'000},
};

constexpr unit decimal_byte_units[] = {
    {"B/s", 1},
    {"kB/s", 1'000},
    {"MB/s", 1'000'000},
    {"GB/s", 1'000'000'000},
};

constexpr unit time_units[] = {
    {"ns", 1},
    {"us", 1'000},
    {"ms", 1'000'000},
    {"s", 1'000'000'000},
    {"min", 60'000'000'000},
    {"h", 3'600'000'000'000},
};

constexpr bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// Digits from the front of `text`, which moves on; nothing if their value is beyond 64 bits.
std::optional<std::uint64_t> take_digits(std::string_view& text) noexcept {
  std::uint64_t value = 0;
  while (!text.empty() && is_digit(text.front())) {
    if (__builtin_mul_overflow(value, 10, &value)) return std::nullopt;
    if (__builtin_add_overflow(value, static_cast<std::uint64_t>(text.front() - '0'), &value)) return std::nullopt;
    text.remove_prefix(1);
  }
  return value;
}

error bad_quantity(std::string_view text, std::string_view what) {
  return {errc::invalid_argument, fmt::format("\"{}\" is not a {}", text, what)};
}

error large_quantity(std::string_view text, std::string_view what) {
  return {errc::too_large, fmt::format("\"{}\" is too large for a {}", text, what)};
}

result<std::uint64_t> parse_quantity(std::string_view text, std::span<const unit> units, std::string_view what) {
  constexpr std::size_t most_decimals = 6; // times the largest unit, they still fit into 64 bits
  std::string_view rest = text;
  if (rest.empty() || !is_digit(rest.front())) return bad_quantity(text, what);
  const auto whole = take_digits(rest);
  if (!whole) return large_quantity(text, what);

  std::uint64_t decimals = 0;
  std::uint64_t scale = 1;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    const auto length = static_cast<std::size_t>(std::find_if_not(rest.begin(), rest.end(), is_digit) - rest.begin());
    if (length == 0 || length > most_decimals) return bad_quantity(text, what);
    decimals = take_digits(rest).value_or(0);
    for (std::size_t i = 0; i < length; ++i) {
      scale *= 10;
    }
  }
  if (rest.starts_with(' ')) rest.remove_prefix(1);

  const auto* found = std::find_if(units.begin(), units.end(), [&](const unit& u) { return u.suffix == rest; }).base();
  const bool bare_zero = rest.empty() && *whole == 0 && decimals == 0;
  if (bare_zero) return std::uint64_t{0};
  if (found == units.data() + units.size()) return bad_quantity(text, what);
  if (decimals * found->size % scale != 0) return bad_quantity(text, what);
  std::uint64_t value = 0;
  if (__builtin_mul_overflow(*whole, found->size, &value) ||
      __builtin_add_overflow(value, decimals * found->size / scale, &value)) {
    return large_quantity(text, what);
  }
  return value;
}

/// `value` in the largest of `units`, given from small to large, that divides it.
std::string format_quantity(std::uint64_t value, std::span<const unit> units) {
  const unit* best = &units.front();
  for (const unit& candidate : units) {
    if (value != 0 && value % candidate.size == 0) best = &candidate;
  }
  return fmt::format("{}{}", value / best->size, best->suffix);
}

} // namespace

result<byte_count> parse_byte_count(std::string_view text) {
  const auto bytes = parse_quantity(text, byte_units, "number of bytes");
  if (!bytes) return bytes.error();
  return byte_count{*bytes};
}

std::string to_string(byte_count value) {
  return value == byte_count{} ? "0" : format_quantity(value.value(), std::span{byte_units}.subspan(1, 5));
}

result<bytes_per_second> parse_rate(std::string_view text) {
  auto quantity = text;
  if (quantity.ends_with("/s")) quantity.remove_suffix(2);
  const bool in_bits = quantity.ends_with('b');
  const auto number =
      in_bits ? parse_quantity(quantity, bit_units, "rate") : parse_quantity(quantity, byte_units, "rate");
  if (!number && number.error() == errc::too_large) return large_quantity(text, "rate");
  if (!number) return bad_quantity(text, "rate (as 250MB/s, or 2Gb/s in bits)");
  if (in_bits && *number % 8 != 0) return bad_quantity(text, "rate of whole bytes");
  return bytes_per_second{in_bits ? *number / 8 : *number};
}

std::string format_rate(bytes_per_second value) {
  return value == bytes_per_second{} ? "0" : format_quantity(value.value(), decimal_byte_units);
}

std::string to_string(bytes_per_second value) {
  return fmt::format("{:.3f} GB/s", static_cast<double>(value.value()) / 1e9);
}

result<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto nanoseconds = parse_quantity(text, time_units, "time with a unit (ns, us, ms, s, min, h)");
  if (!nanoseconds) return nanoseconds.error();
  if (*nanoseconds > static_cast<std::uint64_t>(std::chrono::nanoseconds::max().count())) {
    return large_quantity(text, "time");
  }
  return std::chrono::nanoseconds{static_cast<std::int64_t>(*nanoseconds)};
}

std::string format_duration(std::chrono::nanoseconds value) {
  const auto count = value.count();
  if (count == 0) return "0s";
  const auto magnitude = count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
  return fmt::format("{}{}", count < 0 ? "-" : "", format_quantity(magnitude, time_units));
}

} // namespace weft
