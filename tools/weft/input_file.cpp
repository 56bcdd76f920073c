// Mapping and spooling.
#include "weft/input_file.hpp"

#include "common/descriptor.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weft::tools {
namespace {

result<descriptor> spool_standard_input() {
  const char* folder = std::getenv("TMPDIR");
  auto path = fmt::format("{}/weft-put-XXXXXX", folder != nullptr && *folder != '\0' ? folder : "/tmp");
  descriptor file{::mkostemp(path.data(), O_CLOEXEC)};
  if (!file) return system_error(path);
  ::unlink(path.c_str());
  std::vector<std::byte> buffer(1 << 20);
  while (true) {
    const auto got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got == 0) return file;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("standard input");
    const auto part = std::span{buffer}.first(static_cast<std::size_t>(got));
    if (const auto written = write_all(file.get(), part, path); !written) return written.error();
  }
}

result<descriptor> open_file(const std::string& path) {
  descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) {
    if (errno == ENOENT) return error{errc::invalid_argument, fmt::format("{}: no such file", path)};
    return system_error(path);
  }
  return file;
}

} // namespace

result<input_file> input_file::open(const std::string& path) {
  const auto file = path == "-" ? spool_standard_input() : open_file(path);
  if (!file) return file.error();
  struct stat about = {};
  if (::fstat(file->get(), &about) != 0) return system_error(path);
  if (!S_ISREG(about.st_mode)) {
    return error{errc::invalid_argument, fmt::format("{}: not a regular file; give - to read a pipe", path)};
  }
  if (about.st_size == 0) return input_file{{}};
  const auto size = static_cast<std::size_t>(about.st_size);
  // Private and writable is what registration may ask for; nothing is ever written, so nothing is copied.
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, file->get(), 0);
  if (memory == MAP_FAILED) return system_error(path);
  ::madvise(memory, size, MADV_SEQUENTIAL);
  return input_file{{static_cast<std::byte*>(memory), size}};
}

input_file::input_file(input_file&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

input_file::~input_file() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

} // namespace weft::tools
