// The finalizer of SplitMix64 over the offset (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
#include "fabric-bench/pattern.hpp"

#include <algorithm>
#include <cstring>

namespace weft::tools {
namespace {

constexpr std::uint64_t word_at(std::uint64_t seed, std::uint64_t index) noexcept {
  std::uint64_t z = (seed + index) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

} // namespace

void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed, std::uint64_t offset) noexcept {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
    const auto word = word_at(seed, (offset + at) / sizeof(std::uint64_t));
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at));
  }
}

bool has_pattern(std::span<const std::byte> bytes, std::uint64_t seed, std::uint64_t offset) noexcept {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
    const auto word = word_at(seed, (offset + at) / sizeof(std::uint64_t));
    if (std::memcmp(bytes.data() + at, &word, std::min(sizeof word, bytes.size() - at)) != 0) return false;
  }
  return true;
}

} // namespace weft::tools
