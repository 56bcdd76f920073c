// Where `weft get` writes to: FILE.part, which becomes FILE when all is there; a FILE that is a device, a pipe or a
// link itself; or standard output. Used on the main thread.
#pragma once

#include "common/descriptor.hpp"

#include <weft/error.hpp>

#include <cstddef>
#include <span>
#include <string>

namespace weft::tools {

class output_file {
public:
  /// "-" is standard output. Errors: io_error, invalid_argument (the folder is not there) and the like.
  [[nodiscard]] static result<output_file> create(const std::string& path);

  output_file(output_file&&) noexcept = default;
  output_file& operator=(output_file&&) = delete;
  /// Removes what was not committed.
  ~output_file();

  [[nodiscard]] result<void> write(std::span<const std::byte> bytes);
  /// Gives the file its name. Errors: io_error, no_space and the like.
  [[nodiscard]] result<void> commit();

private:
  explicit output_file(std::string path) : path_(std::move(path)) {}
  [[nodiscard]] std::string part() const { return in_place_ ? path_ : path_ + ".part"; }

  std::string path_;
  bool in_place_ = false; ///< it is a device, a pipe or a link
  descriptor file_;       ///< none for standard output, and once committed
};

} // namespace weft::tools
