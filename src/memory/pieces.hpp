// The memory of one side of a transfer: a list of spans that reads as one run of bytes. Built once when the transfer
// starts, then only looked up, so that a slice costs no allocation. Keeps what it points into alive.
#pragma once

#include "memory/registration.hpp"

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
    const registration* in; ///< whose keys it has; null: memory that no device knows
  };

public:
  piece_list() = default;
  piece_list(std::span<std::byte> bytes, std::shared_ptr<const registration> owner) {
    add(bytes, owner.get());
    keep(std::move(owner));
  }

  void reserve(std::size_t pieces) { pieces_.reserve(pieces); }

  void add(std::span<std::byte> bytes, const registration* in = nullptr) {
    if (bytes.empty()) return;
    pieces_.push_back({length_, bytes.data(), in});
    length_ += bytes.size();
  }

  /// Holds `owner` until the list is destroyed.
  void keep(std::shared_ptr<const void> owner) {
    if (owners_.empty() || owners_.back() != owner) owners_.push_back(std::move(owner));
  }

  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }

  /// Calls visit(std::span<std::byte>, const registration*) for each contiguous part of [offset, offset + length),
  /// until it returns false.
  template <class Visit>
  void visit(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
    for (auto at = find(offset); length > 0 && at != pieces_.end(); ++at) {
      const auto count = std::min(end_of(at) - offset, length);
      if (!visit(std::span(at->data + (offset - at->start), static_cast<std::size_t>(count)), at->in)) return;
      offset += count;
      length -= count;
    }
  }

  /// Fills `out` from the front with where bytes [offset, offset + length) lie; stops when `out` is full. Returns how
  /// many entries were filled.
  std::size_t gather(std::uint64_t offset, std::uint64_t length, std::span<iovec> out) const noexcept {
    std::size_t filled = 0;
    if (out.empty()) return 0;
    visit(offset, length, [&](std::span<std::byte> part, const registration*) {
      out[filled++] = {part.data(), part.size()};
      return filled < out.size();
    });
    return filled;
  }

  /// Calls visit(std::span<std::byte>) for each contiguous part of [offset, offset + length).
  template <class Visit>
  void for_each(std::uint64_t offset, std::uint64_t length, Visit&& visit) const {
    this->visit(offset, length, [&visit](std::span<std::byte> part, const registration*) {
      visit(part);
      return true;
    });
  }

private:
  using place = std::vector<piece>::const_iterator;

  /// The piece that byte `offset` lies in.
  [[nodiscard]] place find(std::uint64_t offset) const noexcept {
    const auto behind =
        std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                         [](std::uint64_t wanted, const piece& candidate) { return wanted < candidate.start; });
    return behind == pieces_.begin() ? behind : behind - 1;
  }
  [[nodiscard]] std::uint64_t end_of(place at) const noexcept {
    return at + 1 == pieces_.end() ? length_ : (at + 1)->start;
  }

  std::vector<piece> pieces_;
  std::vector<std::shared_ptr<const void>> owners_;
  std::uint64_t length_ = 0;
};

} // namespace weft::memory
