// A fixed set of slice indices: the receiver's truth about progress, and the sender's copy of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::links {

class bitmap {
public:
  bitmap() = default;
  explicit bitmap(std::uint32_t size) : words_((std::size_t{size} + 63) / 64), size_(size) {}

  [[nodiscard]] bool test(std::uint32_t index) const noexcept { return (words_[index / 64] >> (index % 64)) & 1; }

  /// False when it was set before.
  bool set(std::uint32_t index) noexcept {
    auto& word = words_[index / 64];
    const auto bit = std::uint64_t{1} << (index % 64);
    if ((word & bit) != 0) return false;
    word |= bit;
    ++count_;
    return true;
  }

  [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] bool full() const noexcept { return count_ == size_; }

private:
  std::vector<std::uint64_t> words_;
  std::uint32_t size_ = 0;
  std::uint32_t count_ = 0;
};

} // namespace weft::links
