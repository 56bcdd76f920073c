// Quantities with their unit in the type: bytes and bytes per second, and the text forms of these and of durations.
// Values only: nothing here has an owner or a thread.
#pragma once

#include <weft/error.hpp>
#include <weft/export.hpp>

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

/// A number of bytes. Arithmetic is that of std::uint64_t: a difference below zero is the caller's mistake.
class byte_count {
public:
  constexpr byte_count() noexcept = default;
  constexpr explicit byte_count(std::uint64_t bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return bytes_; }

  friend constexpr auto operator<=>(const byte_count&, const byte_count&) noexcept = default;

  constexpr byte_count& operator+=(byte_count other) noexcept {
    bytes_ += other.bytes_;
    return *this;
  }
  constexpr byte_count& operator-=(byte_count other) noexcept {
    bytes_ -= other.bytes_;
    return *this;
  }
  friend constexpr byte_count operator+(byte_count left, byte_count right) noexcept { return left += right; }
  friend constexpr byte_count operator-(byte_count left, byte_count right) noexcept { return left -= right; }
  friend constexpr byte_count operator*(byte_count left, std::uint64_t right) noexcept {
    return byte_count{left.bytes_ * right};
  }
  friend constexpr byte_count operator/(byte_count left, std::uint64_t right) noexcept {
    return byte_count{left.bytes_ / right};
  }
  /// How many times `right` fits into `left`.
  friend constexpr std::uint64_t operator/(byte_count left, byte_count right) noexcept {
    return left.bytes_ / right.bytes_;
  }
  friend constexpr byte_count operator%(byte_count left, byte_count right) noexcept {
    return byte_count{left.bytes_ % right.bytes_};
  }

private:
  std::uint64_t bytes_ = 0;
};

inline namespace literals {

constexpr byte_count operator""_B(unsigned long long n) noexcept {
  return byte_count{n};
}
constexpr byte_count operator""_KiB(unsigned long long n) noexcept {
  return byte_count{n << 10};
}
constexpr byte_count operator""_MiB(unsigned long long n) noexcept {
  return byte_count{n << 20};
}
constexpr byte_count operator""_GiB(unsigned long long n) noexcept {
  return byte_count{n << 30};
}
constexpr byte_count operator""_TiB(unsigned long long n) noexcept {
  return byte_count{n << 40};
}

} // namespace literals

/// A rate of transfer.
class bytes_per_second {
public:
  constexpr bytes_per_second() noexcept = default;
  constexpr explicit bytes_per_second(std::uint64_t rate) noexcept : rate_(rate) {}
  /// The mean rate of `bytes` in `elapsed`; zero if no time has passed.
  constexpr bytes_per_second(byte_count bytes, std::chrono::nanoseconds elapsed) noexcept
      : rate_(elapsed.count() > 0 ? static_cast<std::uint64_t>(static_cast<double>(bytes.value()) * 1e9 /
                                                               static_cast<double>(elapsed.count()))
                                  : 0) {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return rate_; }

  friend constexpr auto operator<=>(const bytes_per_second&, const bytes_per_second&) noexcept = default;

private:
  std::uint64_t rate_ = 0;
};

/// Reads "4096", "64KiB", "1.5 GiB", "1GB" or "4M". KiB, MiB, GiB, TiB are powers of 1024 and kB, MB, GB, TB powers of
/// 1000; a bare K, M, G, T is a power of 1024, as in perftest. Errors: invalid_argument, too_large.
[[nodiscard]] WEFT_API result<byte_count> parse_byte_count(std::string_view text);

/// The exact value in the largest binary unit that divides it: "256KiB", "1000B". parse_byte_count reads it back.
[[nodiscard]] WEFT_API std::string to_string(byte_count value);

/// Reads "250MB/s", "1GiB/s" or, in bits, "2Gb/s"; the "/s" may be left out. Bits are decimal, bytes as
/// parse_byte_count reads them. Errors: invalid_argument, also for what is not a whole number of bytes; too_large.
[[nodiscard]] WEFT_API result<bytes_per_second> parse_rate(std::string_view text);

/// The exact value in the largest decimal unit that divides it: "250MB/s", "0". parse_rate reads it back.
[[nodiscard]] WEFT_API std::string format_rate(bytes_per_second value);

/// Decimal, three digits after the point: "12.345 GB/s".
[[nodiscard]] WEFT_API std::string to_string(bytes_per_second value);

/// Reads "250us", "50ms", "1.5s", "10min", "1h" or "0". A number other than 0 needs its unit (ns, us, ms, s, min, h).
/// Errors: invalid_argument, too_large.
[[nodiscard]] WEFT_API result<std::chrono::nanoseconds> parse_duration(std::string_view text);

/// The exact value in the largest unit that divides it: "50ms", "90s". parse_duration reads it back.
[[nodiscard]] WEFT_API std::string format_duration(std::chrono::nanoseconds value);

} // namespace weft
