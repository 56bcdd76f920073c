// The peer's memory that one transfer may write, as the peer granted it: runs of its addresses, and the keys that each
// rail of the peer knows them by. Built once from a grant, then only looked up.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace weft::memory {

class granted_list {
public:
  /// `rails`: how many keys a region has.
  explicit granted_list(std::size_t rails) : rails_(rails) {}
  granted_list() = default;

  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }
  [[nodiscard]] std::size_t rails() const noexcept { return rails_; }
  [[nodiscard]] std::size_t pieces() const noexcept { return pieces_.size(); }

  /// A region's keys are added one for each rail.
  void add_key(std::uint32_t key) { keys_.push_back(key); }

  void add(std::size_t region, std::uint64_t address, std::uint64_t length) {
    pieces_.push_back({length_, address, region * rails_});
    length_ += length;
  }

  /// One contiguous part at the peer.
  struct part {
    std::uint64_t address = 0;
    std::uint64_t length = 0;
    std::uint32_t key = 0;
  };

  /// The part that begins with byte `offset` of the transfer, for the peer's rail `rail`; at most `length` bytes.
  [[nodiscard]] part at(std::uint64_t offset, std::uint64_t length, std::size_t rail) const noexcept {
    auto found =
        std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                         [](std::uint64_t wanted, const piece& candidate) { return wanted < candidate.start; });
    if (found == pieces_.begin() || offset >= length_) return {};
    const auto end = found == pieces_.end() ? length_ : found->start;
    --found;
    return {found->address + (offset - found->start), std::min(end - offset, length), keys_[found->first_key + rail]};
  }

private:
  struct piece {
    std::uint64_t start; ///< offset of its first byte in the transfer
    std::uint64_t address;
    std::size_t first_key;
  };

  std::size_t rails_ = 0;
  std::vector<std::uint32_t> keys_;
  std::vector<piece> pieces_;
  std::uint64_t length_ = 0;
};

} // namespace weft::memory
