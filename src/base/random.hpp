// A small, fast, seeded random source: redial jitter and simulated networks. One thread owns it; equal seeds give equal
// sequences on every machine. Not for secrets: ids come from id.hpp.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace weft {

/// xoshiro256** (Blackman, Vigna: prng.di.unimi.it), its state filled by splitmix64.
class random_source {
public:
  explicit random_source(std::uint64_t seed) noexcept;

  [[nodiscard]] std::uint64_t next() noexcept {
    const std::uint64_t value = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return value;
  }

  /// Uniform in [0, bound); `bound` is at least 1.
  [[nodiscard]] std::uint64_t below(std::uint64_t bound) noexcept;

  /// True with the given probability: never for 0 or less, always for 1 or more.
  [[nodiscard]] bool chance(double probability) noexcept;

private:
  std::array<std::uint64_t, 4> state_;
};

} // namespace weft
