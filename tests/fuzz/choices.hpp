// A fuzzer's input as a source of choices, and what a broken property does. When the input has run out every choice is
// zero.
#pragma once

#include "wire/cursor.hpp"

#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

namespace weft::fuzz {

/// Each target defines this entry point of libFuzzer's.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// Ends the process, for the fuzzer to keep the input, unless the property holds.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", property);
  std::abort();
}

class choices {
public:
  choices(const std::uint8_t* data, std::size_t size) : in_(std::as_bytes(std::span(data, size))) {}

  [[nodiscard]] bool any_left() const noexcept { return in_.left() > 0; }
  template <std::unsigned_integral T>
  [[nodiscard]] T number() noexcept {
    return in_.integer<T>();
  }
  /// In [0, bound).
  [[nodiscard]] std::size_t below(std::size_t bound) noexcept {
    return bound <= 256 ? number<std::uint8_t>() % bound : number<std::uint32_t>() % bound;
  }
  [[nodiscard]] bool one_in(std::size_t count) noexcept { return below(count) == 1; }
  /// Up to `most` bytes.
  [[nodiscard]] std::span<const std::byte> bytes(std::size_t most) noexcept {
    return in_.take(std::min(below(most + 1), in_.left()));
  }
  [[nodiscard]] std::span<const std::byte> rest() noexcept { return in_.rest(); }

private:
  wire::reader in_;
};

} // namespace weft::fuzz
