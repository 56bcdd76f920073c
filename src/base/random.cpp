// Seeding and the distributions of random_source.
#include "base/random.hpp"

#include <cassert>

namespace weft {

random_source::random_source(std::uint64_t seed) noexcept {
  for (std::uint64_t& word : state_) {
    // One step of splitmix64: neighbouring seeds give unrelated states, and never four zeros.
    seed += 0x9e3779b97f4a7c15u;
    std::uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    word = mixed ^ (mixed >> 31);
  }
}

std::uint64_t random_source::below(std::uint64_t bound) noexcept {
  assert(bound != 0);
  // Values under 2^64 mod bound are drawn again, or small remainders would come up more often.
  const std::uint64_t uneven = (0 - bound) % bound;
  std::uint64_t value = next();
  while (value < uneven) {
    value = next();
  }
  return value % bound;
}

bool random_source::chance(double probability) noexcept {
  return static_cast<double>(next() >> 11) * 0x1p-53 < probability;
}

} // namespace weft
