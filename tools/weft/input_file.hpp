// The bytes of a file, or of standard input, as memory: mapped, never copied. Used on the main thread.
#pragma once

#include <weft/error.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace weft::tools {

class input_file {
public:
  /// "-" is standard input, which is first spooled to a temporary file without a name in $TMPDIR (or /tmp). Errors:
  /// io_error, no_space, invalid_argument (not there, or not a regular file).
  [[nodiscard]] static result<input_file> open(const std::string& path);

  input_file(input_file&& other) noexcept;
  input_file& operator=(input_file&&) = delete;
  ~input_file();

  /// Not to be written to; transfers take memory as writable.
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }

private:
  explicit input_file(std::span<std::byte> bytes) noexcept : bytes_(bytes) {}

  std::span<std::byte> bytes_;
};

} // namespace weft::tools
