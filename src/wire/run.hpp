// Pieces at one distance, as lists of them travel: in grants, and in accesses to regions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::wire {

/// Of one list; more do not fit a message.
inline constexpr std::size_t most_runs = 1024;
/// Pieces of one list, over all its runs: bounds what a peer can make this process list.
inline constexpr std::uint64_t most_pieces = 8192;

/// `count` pieces of `length` bytes whose beginnings are `stride` apart.
struct run {
  std::uint64_t begin = 0; ///< of the first: an offset or an address
  std::uint64_t length = 0;
  std::uint64_t stride = 0;
  std::uint64_t count = 1;

  /// Whether a piece goes on with the pattern; it is part of the run then. Overlapping ones are runs of their own.
  bool takes(std::uint64_t at, std::uint64_t bytes) noexcept {
    if (bytes != length || at < begin + length || count == most_pieces) return false;
    if (count == 1) stride = at - begin;
    if (at != begin + stride * count) return false;
    ++count;
    return true;
  }

  friend bool operator==(const run&, const run&) = default;
};

} // namespace weft::wire
