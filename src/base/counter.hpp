// A count that one thread writes and any thread may read: no more than a plain integer to the writer.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft {

class counter {
public:
  counter() = default;
  counter& operator++() noexcept { return *this += 1; }
  counter& operator+=(std::uint64_t more) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
    return *this;
  }
  operator std::uint64_t() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
  std::atomic<std::uint64_t> value_ = 0;
};

} // namespace weft
