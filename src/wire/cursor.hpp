// The one bounds-checked reader of what a peer sent, and the writer that mirrors it. Little-endian, no alignment.
#pragma once

#include "weft/id.hpp"

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::wire {

static_assert(std::endian::native == std::endian::little, "the codec copies integers as they lie in memory");

/// Reads from front to back. The first read beyond the end makes it fail for good: every later read gives zeros, so
/// that a decoder reads all its fields and asks ok() once.
class reader {
public:
  explicit reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

  template <std::unsigned_integral T>
  [[nodiscard]] T integer() noexcept {
    T value = 0;
    if (const auto bytes = take(sizeof(T)); !bytes.empty()) std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  [[nodiscard]] id128 id() noexcept {
    const auto high = integer<std::uint64_t>();
    return {high, integer<std::uint64_t>()};
  }

  /// A string preceded by its length in 16 bits; fails when longer than `limit`.
  [[nodiscard]] std::string text(std::size_t limit) {
    const std::size_t length = integer<std::uint16_t>();
    if (length > limit) ok_ = false;
    const auto bytes = take(length);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  [[nodiscard]] std::span<const std::byte> take(std::size_t length) noexcept {
    if (!ok_ || length > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto front = rest_.first(length);
    rest_ = rest_.subspan(length);
    return front;
  }

  [[nodiscard]] std::span<const std::byte> rest() noexcept { return take(rest_.size()); }
  [[nodiscard]] std::size_t left() const noexcept { return rest_.size(); }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  /// Nothing was missing and nothing is left.
  [[nodiscard]] bool finished() const noexcept { return ok_ && rest_.empty(); }

private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

/// Appends to a vector, whose capacity the caller may reuse.
class writer {
public:
  explicit writer(std::vector<std::byte>& out) noexcept : out_(out) {}

  template <std::unsigned_integral T>
  writer& integer(T value) {
    return bytes(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }

  /// One after the other, as integer() does, at the price of one.
  template <std::unsigned_integral... T>
  writer& integers(T... values) {
    std::array<std::byte, (sizeof(T) + ...)> all;
    std::size_t at = 0;
    ((std::memcpy(all.data() + at, &values, sizeof(T)), at += sizeof(T)), ...);
    return bytes(all);
  }

  writer& id(const id128& value) { return integer(value.high).integer(value.low); }

  writer& text(std::string_view value) {
    integer(static_cast<std::uint16_t>(value.size()));
    return bytes(std::as_bytes(std::span(value)));
  }

  writer& bytes(std::span<const std::byte> value) {
    // Not insert(): g++ 12 warns of its unused branches at -O3.
    const auto end = out_.size();
    out_.resize(end + value.size());
    if (!value.empty()) std::memcpy(out_.data() + end, value.data(), value.size());
    return *this;
  }

private:
  std::vector<std::byte>& out_;
};

} // namespace weft::wire
