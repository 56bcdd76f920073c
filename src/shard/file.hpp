// An open file or folder of a store: whole reads and writes over the seam of system calls, with the kernel's refusals
// turned into Weft's errors. Owned by one object; reads, and writes to different ranges, may come from many threads.
#pragma once

#include <weft/error.hpp>

#include "shard/system_calls.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace weft {

/// Repeats a call for as long as a signal interrupts it.
template <class Call>
auto uninterrupted(Call call) {
  auto answer = call();
  while (answer == -EINTR) {
    answer = call();
  }
  return answer;
}

/// Weft's error for a negative errno. `subject` is what suffered, "shard a/b" or "store /srv/weft".
[[nodiscard]] error storage_failure(std::int64_t code, std::string_view call, std::string_view subject);

class file {
public:
  file() noexcept = default;
  /// Takes over the descriptor.
  file(system_calls& calls, int descriptor) noexcept : calls_(&calls), descriptor_(descriptor) {}
  file(file&& other) noexcept;
  file& operator=(file&& other) noexcept;
  ~file();

  [[nodiscard]] static result<file> open(system_calls& calls, const std::string& path, int flags,
                                         std::string_view subject);

  /// All of `into`; a file that ends before it is an io_error.
  [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> into, std::string_view subject) const;
  /// As much of `into` as the file has from `offset` on, or at least `enough` of it: who knows where the file ends
  /// spares the call that finds it, which a file opened around the cache would refuse.
  [[nodiscard]] result<std::size_t> read_some(std::uint64_t offset, std::span<std::byte> into, std::string_view subject,
                                              std::size_t enough = SIZE_MAX) const;
  [[nodiscard]] result<void> write(std::uint64_t offset, std::span<const std::byte> bytes, std::string_view subject);
  /// Gives a new file its length and its space on the disk, so that a full one is known at once: no_space.
  [[nodiscard]] result<void> allocate(std::uint64_t length, std::string_view subject);
  [[nodiscard]] result<void> sync(std::string_view subject) const;
  [[nodiscard]] result<std::uint64_t> size(std::string_view subject) const;

  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
  system_calls* calls_ = nullptr;
  int descriptor_ = -1;
};

} // namespace weft
