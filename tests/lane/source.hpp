// A flow of the tests: bytes that are sent in whole slices.
#pragma once

#include "lane/scheduler.hpp"

#include <algorithm>
#include <cstdint>

namespace weft::lanes {

struct source final : flow {
  explicit source(std::uint64_t bytes = 0, std::uint64_t slice = 64 * 1024) : left(bytes), size(slice) {}

  std::uint64_t send(std::uint64_t quantum) override {
    std::uint64_t total = 0;
    while (left > 0 && total < quantum) {
      const auto count = std::min(size, left);
      left -= count;
      total += count;
    }
    sent += total;
    ++turns;
    return total;
  }

  std::uint64_t left;
  std::uint64_t size;
  std::uint64_t sent = 0;
  int turns = 0;
};

} // namespace weft::lanes
