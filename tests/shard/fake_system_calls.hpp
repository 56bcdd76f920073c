// The kernel's system calls with faults on demand and a record of what was asked: for tests of the file store. Calls
// may come from several threads; the knobs are set between them.
#pragma once

#include "shard/system_calls.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::test {

class fake_system_calls final : public system_calls {
public:
  static constexpr std::size_t never = std::numeric_limits<std::size_t>::max();

  /// Makes every call of this name whose path has `part` in it answer -code, once `sound` of them have passed.
  void fail(std::string_view call, int code, std::string_view part = "", std::size_t sound = 0) {
    failing_call_ = call;
    failing_part_ = part;
    failing_code_ = code;
    sound_calls_ = sound;
  }
  void heal() {
    failing_call_.clear();
    steps_left_ = never;
  }
  /// From now on `steps` calls that change something succeed, and all later ones fail, as if the process were dead.
  void die_after(std::size_t steps) { steps_left_ = steps; }
  [[nodiscard]] bool dead() const { return steps_left_ == 0; }

  /// Each call is first interrupted by a signal.
  bool interrupting = false;
  /// Reads and writes move at most this many bytes.
  std::size_t longest_move = never;
  /// As a file system mounted read-only.
  bool read_only = false;
  /// What statvfs is to say; the truth if negative.
  std::int64_t free_bytes = -1;

  [[nodiscard]] std::size_t open_descriptors() {
    const std::scoped_lock lock{mutex_};
    return paths_.size();
  }

  /// "rename incoming/0 data/a.1" for each call that changes something; writes in a row as one.
  [[nodiscard]] std::vector<std::string> taken_record() { return std::exchange(record_, {}); }

  int open(const std::string& path, int flags) override {
    if (const int code = trouble("open", path)) return code;
    if (read_only && (flags & O_ACCMODE) != O_RDONLY)
      return ::access(path.c_str(), F_OK) == 0 || (flags & O_CREAT) != 0 ? -EROFS : -ENOENT;
    const int descriptor = kernel_.open(path, flags);
    const std::scoped_lock lock{mutex_};
    if (descriptor >= 0) paths_[descriptor] = path;
    return descriptor;
  }
  void close(int descriptor) override {
    {
      const std::scoped_lock lock{mutex_};
      paths_.erase(descriptor);
    }
    kernel_.close(descriptor);
  }
  ssize_t pread(int descriptor, std::span<std::byte> into, std::uint64_t offset) override {
    if (const int code = trouble("pread", path_of(descriptor))) return code;
    return kernel_.pread(descriptor, into.first(std::min(into.size(), longest_move)), offset);
  }
  ssize_t pwrite(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) override {
    if (const int code = change("pwrite", path_of(descriptor))) return code;
    return kernel_.pwrite(descriptor, bytes.first(std::min(bytes.size(), longest_move)), offset);
  }
  int fsync(int descriptor) override {
    if (const int code = change("fsync", path_of(descriptor))) return code;
    return 0; // what the order of calls is worth is seen in the record; the disk's time is saved
  }
  int allocate(int descriptor, std::uint64_t length) override {
    if (const int code = change("allocate", path_of(descriptor))) return code;
    return kernel_.allocate(descriptor, length);
  }
  int truncate(int descriptor, std::uint64_t length) override {
    if (const int code = change("truncate", path_of(descriptor))) return code;
    return kernel_.truncate(descriptor, length);
  }
  std::int64_t file_size(int descriptor) override { return kernel_.file_size(descriptor); }
  std::int64_t free_space(int descriptor) override {
    return free_bytes >= 0 ? free_bytes : kernel_.free_space(descriptor);
  }
  int lock(int descriptor) override { return kernel_.lock(descriptor); }
  int rename(const std::string& from, const std::string& to) override {
    if (const int code = change("rename", from, to)) return code;
    return kernel_.rename(from, to);
  }
  int unlink(const std::string& path) override {
    if (const int code = change("unlink", path)) return code;
    return kernel_.unlink(path);
  }
  int mkdir(const std::string& path) override {
    if (read_only) return ::access(path.c_str(), F_OK) == 0 ? -EEXIST : -EROFS;
    return kernel_.mkdir(path);
  }
  int list_folder(const std::string& path, const std::function<void(std::string_view)>& visit) override {
    return kernel_.list_folder(path, visit);
  }

private:
  /// The last two components: what a test's folder is called does not matter.
  static std::string short_form(const std::string& path) {
    const auto last = path.rfind('/');
    return path.substr(last == std::string::npos || last == 0 ? 0 : path.rfind('/', last - 1) + 1);
  }
  std::string path_of(int descriptor) {
    const std::scoped_lock lock{mutex_};
    return paths_[descriptor];
  }
  /// Zero, or what the call is to answer in place of the kernel.
  int trouble(std::string_view call, const std::string& path) {
    const std::scoped_lock lock{mutex_};
    if (interrupting && (interrupt_next_ = !interrupt_next_)) return -EINTR;
    if (call != failing_call_ || path.find(failing_part_) == std::string::npos) return 0;
    if (sound_calls_ == 0) return -failing_code_;
    --sound_calls_;
    return 0;
  }
  int change(std::string_view call, const std::string& path, const std::string& to = "") {
    if (const int code = trouble(call, to.empty() ? path : to)) return code;
    const std::scoped_lock lock{mutex_};
    if (read_only) return -EROFS;
    if (steps_left_ == 0) return -EIO;
    if (steps_left_ != never) --steps_left_;
    std::string line = std::string{call} + ' ' + short_form(path) + (to.empty() ? "" : ' ' + short_form(to));
    if (record_.empty() || record_.back() != line) record_.push_back(std::move(line));
    return 0;
  }

  kernel_calls kernel_;
  std::mutex mutex_;
  std::map<int, std::string> paths_;
  std::vector<std::string> record_;
  std::string failing_call_;
  std::string failing_part_;
  int failing_code_ = 0;
  std::size_t sound_calls_ = 0;
  std::size_t steps_left_ = never;
  bool interrupt_next_ = false;
};

} // namespace weft::test
