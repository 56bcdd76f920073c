// An owned file descriptor, and the writing of all of something to one.
#pragma once

#include <weft/error.hpp>

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

namespace weft::tools {

class descriptor {
public:
  explicit descriptor(int number = -1) noexcept : number_(number) {}
  descriptor(descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~descriptor();

  [[nodiscard]] explicit operator bool() const noexcept { return number_ >= 0; }
  [[nodiscard]] int get() const noexcept { return number_; }

private:
  int number_;
};

/// errno as an error at `place`, with the system's words.
[[nodiscard]] error system_error(std::string_view place);

/// Errors: io_error, no_space, and cancelled for a pipe whose reader has ended, at `place`.
[[nodiscard]] result<void> write_all(int to, std::span<const std::byte> bytes, std::string_view place);

} // namespace weft::tools
