// The system calls of the file store, as a seam: tests put an implementation here that interrupts, cuts short and fails
// them. Every call answers as the kernel does, with a negative errno in place of a result. Any thread may call.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace weft {

class system_calls {
public:
  virtual ~system_calls() = default;

  /// New files get mode 0644; every descriptor is closed on exec.
  virtual int open(const std::string& path, int flags) = 0;
  virtual void close(int descriptor) = 0;
  virtual ssize_t pread(int descriptor, std::span<std::byte> into, std::uint64_t offset) = 0;
  virtual ssize_t pwrite(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) = 0;
  virtual int fsync(int descriptor) = 0;
  /// Reserves the disk blocks of a new file and gives it this length; -EOPNOTSUPP where the file system cannot.
  virtual int allocate(int descriptor, std::uint64_t length) = 0;
  virtual int truncate(int descriptor, std::uint64_t length) = 0;
  virtual std::int64_t file_size(int descriptor) = 0;
  /// Bytes that an unprivileged process may still use in the file system of the file.
  virtual std::int64_t free_space(int descriptor) = 0;
  /// An exclusive flock, held until the descriptor is closed; -EWOULDBLOCK if another one has it.
  virtual int lock(int descriptor) = 0;
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int unlink(const std::string& path) = 0;
  virtual int mkdir(const std::string& path) = 0;
  /// Visits the name of every entry but "." and "..", in no order.
  virtual int list_folder(const std::string& path, const std::function<void(std::string_view)>& visit) = 0;
};

/// The real ones.
class kernel_calls final : public system_calls {
public:
  int open(const std::string& path, int flags) override;
  void close(int descriptor) override;
  ssize_t pread(int descriptor, std::span<std::byte> into, std::uint64_t offset) override;
  ssize_t pwrite(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) override;
  int fsync(int descriptor) override;
  int allocate(int descriptor, std::uint64_t length) override;
  int truncate(int descriptor, std::uint64_t length) override;
  std::int64_t file_size(int descriptor) override;
  std::int64_t free_space(int descriptor) override;
  int lock(int descriptor) override;
  int rename(const std::string& from, const std::string& to) override;
  int unlink(const std::string& path) override;
  int mkdir(const std::string& path) override;
  int list_folder(const std::string& path, const std::function<void(std::string_view)>& visit) override;
};

} // namespace weft
