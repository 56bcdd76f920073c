// The memory of one side of a transfer: a list of spans that reads as one run of bytes. Built once when the transfer
// starts, then only looked up, so that a slice costs no allocation. Keeps what it points into alive.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace weft::memory {

class piece_list {
  struct piece {
    std::uint64_t start; ///< offset of its first byte in the run
    std::byte* data;
  };

public:
  piece_list() = default;
  piece_list(std::span<std::byte> bytes, std::shared_ptr<const void> owner) {
    add(bytes);
    keep(std::move(owner));
  }

  void reserve(std::size_t pieces) { pieces_.reserve(pieces); }

  void add(std::span<std::byte> bytes) {
    if (bytes.empty()) return;
    pieces_.push_back({length_, bytes.data()});
    length_ += bytes.size();
  }

  /// Holds `owner` until the list is destroyed.
  void keep(std::shared_ptr<const void> owner) {
    if (owners_.empty() || owners_.back() != owner) owners_.push_back(std::move(owner));
  }

  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }

  /// Fills `out` from the front with where bytes [offset, offset + length) lie; stops when `out` is full. Returns how
  /// many entries were filled.
  std::size_t gather(std::uint64_t offset, std::uint64_t length, std::span<iovec> out) const noexcept {
    auto at = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                               [](std::uint64_t wanted, const piece& candidate) { return wanted < candidate.start; });
    std::size_t filled = 0;
    if (at != pieces_.begin()) --at;
    for (; length > 0 && filled < out.size() && at != pieces_.end(); ++at) {
      const auto next = at + 1;
      const auto end = next == pieces_.end() ? length_ : next->start;
      const auto count = std::min(end - offset, length);
      out[filled++] = {at->data + (offset - at->start), static_cast<std::size_t>(count)};
      offset += count;
      length -= count;
    }
    return filled;
  }

  /// Calls visit(std::span<std::byte>) for each contiguous part of [offset, offset + length).
  template <class Visit>
  void for_each(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
    while (length > 0) {
      iovec parts[16];
      const auto count = gather(offset, length, parts);
      if (count == 0) return;
      for (const auto& part : std::span(parts, count)) {
        visit(std::span(static_cast<std::byte*>(part.iov_base), part.iov_len));
        offset += part.iov_len;
        length -= part.iov_len;
      }
    }
  }

private:
  std::vector<piece> pieces_;
  std::vector<std::shared_ptr<const void>> owners_;
  std::uint64_t length_ = 0;
};

} // namespace weft::memory
