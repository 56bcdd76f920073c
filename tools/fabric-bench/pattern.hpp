// Reproducible bytes: the same at each offset, whoever writes them, so that clients of one server may overlap, and any
// reader can check what it got without a second copy. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::tools {

/// Fills `bytes`, whose first one is at `offset` (a multiple of 8) of the sequence that `seed` begins.
void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed, std::uint64_t offset = 0) noexcept;

/// Whether the bytes are those that fill_pattern() writes.
[[nodiscard]] bool has_pattern(std::span<const std::byte> bytes, std::uint64_t seed, std::uint64_t offset = 0) noexcept;

} // namespace weft::tools
