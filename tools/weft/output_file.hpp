// Where `weft get` writes to: FILE.part, which becomes FILE when all is there, or standard output. Used on the main
// thread.
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
  [[nodiscard]] std::string part() const { return path_ + ".part"; }

  std::string path_;
  descriptor file_; ///< none for standard output, and once committed
};

} // namespace weft::tools
