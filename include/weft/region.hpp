// Registered memory, and the ways to name parts of it.
#pragma once

#include <weft/error.hpp>
#include <weft/export.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace weft {

struct registration;
class region;

/// A part of a region: `length` bytes from `offset` on.
struct region_view {
  std::shared_ptr<const registration> owner;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;

  [[nodiscard]] WEFT_API std::span<std::byte> bytes() const noexcept;
};

/// Memory that transfers may read and write, made by fabric::register_memory or fabric::allocate. A cheap handle:
/// copies name the same memory, which stays registered while a handle, a transfer or a publication uses it. The bytes
/// of register_memory stay the caller's and must outlive all of these. Thread-safe as a value is.
class WEFT_API region {
public:
  region() = default;
  explicit region(std::shared_ptr<const registration> registered) : registered_(std::move(registered)) {}

  [[nodiscard]] std::span<std::byte> bytes() const noexcept;
  [[nodiscard]] std::uint64_t size() const noexcept { return bytes().size(); }
  [[nodiscard]] explicit operator bool() const noexcept { return registered_ != nullptr; }

  /// Bytes [offset, offset + length). A view beyond the region is refused by the operation that is given it, with
  /// out_of_region.
  [[nodiscard]] region_view sub(std::uint64_t offset, std::uint64_t length) const {
    return {registered_, offset, length};
  }
  [[nodiscard]] region_view all() const { return sub(0, size()); }
  operator region_view() const { return all(); }

private:
  std::shared_ptr<const registration> registered_;
};

/// What a peer may do with a published region.
enum class rights : std::uint8_t { read = 1, write = 2, read_write = 3 };

/// A region that a peer published, as link::open found it.
struct remote_region {
  std::uint64_t id = 0; ///< the publication's, new each time a name is published
  std::uint64_t size = 0;
  rights allowed = rights::read;
  std::string name;

  struct view;
  [[nodiscard]] view sub(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] view all() const;
};

/// A part of a remote region.
struct remote_region::view {
  std::uint64_t id = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

inline remote_region::view remote_region::sub(std::uint64_t offset, std::uint64_t length) const {
  return {id, offset, length};
}
inline remote_region::view remote_region::all() const {
  return sub(0, size);
}

using remote_view = remote_region::view;

/// One piece of a transfer between a local and a remote region; offsets and length in bytes.
struct piece {
  std::uint64_t local_offset = 0;
  std::uint64_t remote_offset = 0;
  std::uint64_t length = 0;
};

/// `count` pieces of `length` bytes, each end at its own stride.
[[nodiscard]] WEFT_API std::vector<piece> strided(piece first, std::uint64_t local_stride, std::uint64_t remote_stride,
                                                  std::size_t count);

} // namespace weft
