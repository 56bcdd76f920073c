// Writing under a temporary name.
#include "weft/output_file.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::tools {

result<output_file> output_file::create(const std::string& path) {
  output_file output{path};
  if (path == "-") return output;
  struct stat about = {};
  if (::stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode)) {
    return error{errc::invalid_argument, fmt::format("{}: is a folder; name the file in it", path)};
  }
  // A device, a pipe or a link is written where it is: renaming over it would replace it by a file.
  struct stat named = {};
  output.in_place_ = ::lstat(path.c_str(), &named) == 0 && !S_ISREG(named.st_mode);
  output.file_ = descriptor{::open(output.part().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  if (!output.file_) return system_error(output.part());
  return output;
}

output_file::~output_file() {
  if (file_ && !in_place_) ::unlink(part().c_str());
}

result<void> output_file::write(std::span<const std::byte> bytes) {
  if (!file_) return write_all(STDOUT_FILENO, bytes, "standard output");
  return write_all(file_.get(), bytes, part());
}

result<void> output_file::commit() {
  if (!file_) return {};
  if (!in_place_ && ::rename(part().c_str(), path_.c_str()) != 0) return system_error(path_);
  const descriptor done = std::move(file_);
  return {};
}

} // namespace weft::tools
