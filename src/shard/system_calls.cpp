// The system calls themselves, with errno turned into the result. No loops here: who calls decides what to repeat.
#include "shard/system_calls.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <memory>

namespace weft {
namespace {

template <class T>
T or_errno(T answer) {
  return answer < 0 ? static_cast<T>(-errno) : answer;
}

} // namespace

int kernel_calls::open(const std::string& path, int flags) {
  return or_errno(::open(path.c_str(), flags | O_CLOEXEC, 0644));
}

// Linux closes the descriptor even where it answers EINTR, and what fsync did not report is not reported here either.
void kernel_calls::close(int descriptor) {
  ::close(descriptor);
}

ssize_t kernel_calls::pread(int descriptor, std::span<std::byte> into, std::uint64_t offset) {
  return or_errno(::pread(descriptor, into.data(), into.size(), static_cast<off_t>(offset)));
}

ssize_t kernel_calls::pwrite(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) {
  return or_errno(::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset)));
}

int kernel_calls::fsync(int descriptor) {
  return or_errno(::fsync(descriptor));
}

int kernel_calls::allocate(int descriptor, std::uint64_t length) {
  return or_errno(::fallocate(descriptor, 0, 0, static_cast<off_t>(length)));
}

int kernel_calls::truncate(int descriptor, std::uint64_t length) {
  return or_errno(::ftruncate(descriptor, static_cast<off_t>(length)));
}

std::int64_t kernel_calls::file_size(int descriptor) {
  struct stat status {};
  if (::fstat(descriptor, &status) < 0) return -errno;
  return status.st_size;
}

std::int64_t kernel_calls::free_space(int descriptor) {
  struct statvfs status {};
  if (::fstatvfs(descriptor, &status) < 0) return -errno;
  const auto bytes = std::uint64_t{status.f_bavail} * status.f_frsize;
  return static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, std::numeric_limits<std::int64_t>::max()));
}

int kernel_calls::lock(int descriptor) {
  return or_errno(::flock(descriptor, LOCK_EX | LOCK_NB));
}

int kernel_calls::rename(const std::string& from, const std::string& to) {
  return or_errno(::rename(from.c_str(), to.c_str()));
}

int kernel_calls::unlink(const std::string& path) {
  return or_errno(::unlink(path.c_str()));
}

int kernel_calls::mkdir(const std::string& path) {
  return or_errno(::mkdir(path.c_str(), 0755));
}

int kernel_calls::list_folder(const std::string& path, const std::function<void(std::string_view)>& visit) {
  const auto close = [](DIR* folder) { ::closedir(folder); };
  const std::unique_ptr<DIR, decltype(close)> folder{::opendir(path.c_str())};
  if (!folder) return -errno;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) return -errno;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") visit(name);
  }
}

} // namespace weft
