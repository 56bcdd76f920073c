// What stands behind a region: the memory, and on paths that need it (later) its keys on every rail.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

namespace weft {

struct registration {
  registration(std::span<std::byte> memory, std::function<void()> release)
      : bytes(memory), release_(std::move(release)) {}
  ~registration() {
    if (release_) release_();
  }
  registration(const registration&) = delete;
  registration& operator=(const registration&) = delete;

  const std::span<std::byte> bytes;

private:
  std::function<void()> release_; ///< frees memory that is the library's own
};

} // namespace weft
