// A second process of `fabric-bench mixed --processes`, and what the two say to each other: lines over a socket,
// results in memory that they share. Used on the main thread of each.
#pragma once

#include "fabric-bench/mixed.hpp"

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace weft::tools {

class companion {
public:
  /// Of mixed_cell what a paced load has.
  struct results {
    histogram latencies;
    std::uint64_t operations = 0;
    double seconds = 0;
    std::uint64_t errors = 0;
    std::array<char, 512> first_error{}; ///< ends with a zero
  };
  static_assert(std::is_trivially_copyable_v<histogram>);

  /// Makes the other process, with room for so many results: returns in both. There must be no threads yet. Errors:
  /// os_failure.
  [[nodiscard]] static result<companion> start(std::size_t count);
  companion(companion&& from) noexcept;
  /// In the first process: waits for the second, which ends when it hears no more.
  ~companion();

  [[nodiscard]] bool is_second() const noexcept { return process_ == 0; }
  /// Errors, of both: os_failure, when the other process is gone.
  result<void> tell(std::string_view line);
  [[nodiscard]] result<std::string> hear();

  /// Written by the second before it tells that they are there.
  void put(std::size_t which, const mixed_cell& cell) noexcept;
  void add_to(std::size_t which, mixed_cell& cell) const;

private:
  companion() = default;

  pid_t process_ = -1;
  int socket_ = -1;
  std::span<results> shared_;
};

} // namespace weft::tools
