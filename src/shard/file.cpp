// Loops over the system calls, and the meaning of their errors.
#include "shard/file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <system_error>
#include <utility>

namespace weft {
namespace {

errc meaning(int code) {
  switch (code) {
    case ENOSPC:
    case EDQUOT: return errc::no_space;
    case EROFS: return errc::read_only;
    case EFBIG: return errc::too_large;
    case EMFILE:
    case ENFILE: return errc::too_many_files;
    case ENOMEM: return errc::out_of_memory;
    case EACCES:
    case EPERM: return errc::os_failure;
    default: return errc::io_error;
  }
}

} // namespace

error storage_failure(std::int64_t code, std::string_view call, std::string_view subject) {
  const int positive = static_cast<int>(-code);
  return {meaning(positive), fmt::format("{}: {}: {}", subject, call, std::generic_category().message(positive))};
}

file::file(file&& other) noexcept
    : calls_(std::exchange(other.calls_, nullptr)), descriptor_(std::exchange(other.descriptor_, -1)) {}

file& file::operator=(file&& other) noexcept {
  std::swap(calls_, other.calls_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

file::~file() {
  if (descriptor_ >= 0) calls_->close(descriptor_);
}

result<file> file::open(system_calls& calls, const std::string& path, int flags, std::string_view subject) {
  const int descriptor = uninterrupted([&] { return calls.open(path, flags); });
  if (descriptor < 0) return storage_failure(descriptor, "open " + path, subject);
  return file{calls, descriptor};
}

result<std::size_t> file::read_some(std::uint64_t offset, std::span<std::byte> into, std::string_view subject,
                                    std::size_t enough) const {
  std::size_t done = 0;
  while (done < std::min(enough, into.size())) {
    const auto got = uninterrupted([&] { return calls_->pread(descriptor_, into.subspan(done), offset + done); });
    if (got < 0) return storage_failure(got, fmt::format("read at {}", offset + done), subject);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

result<void> file::read(std::uint64_t offset, std::span<std::byte> into, std::string_view subject) const {
  const auto got = read_some(offset, into, subject);
  if (!got) return got.error();
  if (*got == into.size()) return {};
  return error{errc::io_error,
               fmt::format("{}: read at {}: the file ends {} bytes early", subject, offset + *got, into.size() - *got)};
}

result<void> file::write(std::uint64_t offset, std::span<const std::byte> bytes, std::string_view subject) {
  while (!bytes.empty()) {
    auto put = uninterrupted([&] { return calls_->pwrite(descriptor_, bytes, offset); });
    if (put == 0) put = -EIO; // no progress and no reason: asking again might never end
    if (put < 0) return storage_failure(put, fmt::format("write at {}", offset), subject);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

result<void> file::allocate(std::uint64_t length, std::string_view subject) {
  if (length == 0) return {};
  if (length > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return storage_failure(-EFBIG, "allocate", subject);
  }
  int answer = uninterrupted([&] { return calls_->allocate(descriptor_, length); });
  if (answer == -EOPNOTSUPP) {
    const auto space = calls_->free_space(descriptor_);
    if (space < 0) return storage_failure(space, "statvfs", subject);
    answer = static_cast<std::uint64_t>(space) < length
                 ? -ENOSPC
                 : uninterrupted([&] { return calls_->truncate(descriptor_, length); });
  }
  if (answer < 0) return storage_failure(answer, fmt::format("allocate {} bytes", length), subject);
  return {};
}

// Never repeated after a failure: the kernel may already have dropped the pages, and the second answer would be a lie.
result<void> file::sync(std::string_view subject) const {
  const int answer = uninterrupted([&] { return calls_->fsync(descriptor_); });
  if (answer < 0) return storage_failure(answer, "fsync", subject);
  return {};
}

result<std::uint64_t> file::size(std::string_view subject) const {
  const auto bytes = calls_->file_size(descriptor_);
  if (bytes < 0) return storage_failure(bytes, "fstat", subject);
  return static_cast<std::uint64_t>(bytes);
}

} // namespace weft
