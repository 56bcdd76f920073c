// What stands behind a region: the memory, and its keys on the rails that have an RDMA device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace weft {

/// What a rail's device knows a region by: a key for its own work requests, and one for its peers'.
struct rail_key {
  std::uint32_t local = 0;
  std::uint32_t remote = 0;
};

struct registration {
  /// `release` gives back the keys, then the memory if that is the library's own.
  registration(std::span<std::byte> memory, std::function<void()> release, const void* known_to = nullptr,
               std::vector<rail_key> of_rails = {})
      : bytes(memory), rails(known_to), keys(std::move(of_rails)), release_(std::move(release)) {}
  ~registration() {
    if (release_) release_();
  }
  registration(const registration&) = delete;
  registration& operator=(const registration&) = delete;

  const std::span<std::byte> bytes;
  const void* const rails;          ///< the set of rails that knows it, by which a fabric tells its own
  const std::vector<rail_key> keys; ///< one for each of the fabric's RDMA rails, in their order; none without one

private:
  std::function<void()> release_;
};

} // namespace weft
