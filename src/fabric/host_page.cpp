#include "fabric/host_page.hpp"

#include "weft/inspect.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <thread>

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

using lanes::board_page;

constexpr auto page_size = static_cast<off_t>(sizeof(board_page));
/// Whoever sets the page up, or takes an entry, holds a lock for some system calls; a stopped process may for longer.
constexpr int lock_tries = 100;
constexpr auto lock_pause = std::chrono::milliseconds(1);

error failure(const std::string& path, const std::string& what, int code) {
  return {errc::os_failure, fmt::format("{}: {}: {}", path, what, std::strerror(code))};
}

struct flock byte_at(off_t offset, short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = offset;
  range.l_len = 1;
  return range;
}

/// Locks belong to the open file, and end with the last process that has it.
bool lock(int file, off_t offset) {
  auto range = byte_at(offset, F_WRLCK);
  return ::fcntl(file, F_OFD_SETLK, &range) == 0;
}

void unlock(int file, off_t offset) {
  auto range = byte_at(offset, F_UNLCK);
  ::fcntl(file, F_OFD_SETLK, &range);
}

/// The lock on the whole page.
bool lock_for_a_while(int file) {
  for (int i = 0; i < lock_tries; ++i) {
    if (lock(file, 0)) return true;
    std::this_thread::sleep_for(lock_pause);
  }
  return false;
}

bool is_locked(int file, off_t offset) {
  auto range = byte_at(offset, F_WRLCK);
  return ::fcntl(file, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

off_t offset_of(std::size_t entry) {
  return static_cast<off_t>(offsetof(board_page, entries) + entry * sizeof(lanes::board_entry));
}

error all_taken(const std::string& path) {
  return {errc::os_failure, fmt::format("{}: all its {} entries are taken", path, board_page::most_entries)};
}

/// Nobody else may have had a hand in the file. `info`: of it.
result<void> check_owner(const std::string& path, const struct stat& info, host_share with) {
  if (!S_ISREG(info.st_mode)) return error(errc::os_failure, path + ": is no file; remove it");
  const bool of_group = with == host_share::group;
  if (of_group ? info.st_gid != ::getegid() : info.st_uid != ::geteuid()) {
    return error(errc::os_failure, fmt::format("{}: belongs to {} {}, not to this process's; remove it", path,
                                               of_group ? "group" : "user", of_group ? info.st_gid : info.st_uid));
  }
  if ((info.st_mode & (of_group ? S_IWOTH : S_IWGRP | S_IWOTH)) != 0) {
    return error(errc::os_failure, path + ": others may write to it; remove it");
  }
  return {};
}

result<void> check_content(const std::string& path, const board_page& page) {
  const bool right = page.magic == board_page::right_magic && page.version == board_page::right_version &&
                     page.entry_size == sizeof(lanes::board_entry);
  if (right) return {};
  return error(errc::os_failure, path + ": is damaged, or no page of Weft's; remove it while no fabric is open");
}

/// Opens it, making it if `make`. -1 and no error: there is none.
result<int> open_file(const std::string& path, host_share with, bool make) {
  // Never O_CREAT alone: of another user's file in a sticky directory the kernel may refuse that (protected_regular).
  int file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0 && errno == ENOENT) {
    if (!make) return -1;
    const mode_t mode = with == host_share::group ? 0660 : 0600;
    file = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_CREAT | O_EXCL, mode);
    if (file < 0 && errno == EEXIST) return open_file(path, with, false);
    if (file >= 0) ::fchmod(file, mode); // whatever the umask is
  }
  if (file < 0) return failure(path, "open", errno);
  return file;
}

result<board_page*> map(const std::string& path, int file) {
  void* at = ::mmap(nullptr, sizeof(board_page), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (at == MAP_FAILED) return failure(path, "mmap", errno);
  return static_cast<board_page*>(at);
}

} // namespace

std::string host_page::path_of(host_share with) {
  struct stat network {};
  ::stat("/proc/self/ns/net", &network);
  const bool of_group = with == host_share::group;
  return fmt::format("/dev/shm/weft-{}-{}-{}-net-{}", board_page::right_version, of_group ? "group" : "user",
                     of_group ? ::getegid() : ::geteuid(), network.st_ino);
}

result<page_users> host_page::look(const std::string& path, host_share with) {
  const auto file = open_file(path, with, false);
  if (!file) return file.error();
  if (*file < 0) {
    const auto folder = path.substr(0, path.rfind('/'));
    if (::access(folder.c_str(), W_OK | X_OK) != 0) return failure(folder, "no page can be made there", errno);
    return page_users{};
  }
  const std::shared_ptr<void> closing(nullptr, [file = *file](void*) { ::close(file); });
  struct stat info {};
  if (::fstat(*file, &info) != 0) return failure(path, "fstat", errno);
  if (const auto mine = check_owner(path, info, with); !mine) return mine.error();
  if (info.st_size == 0) return page_users{}; // somebody is about to set it up
  if (info.st_size != page_size) return error(errc::os_failure, path + ": is damaged; remove it");
  const auto mapped = map(path, *file);
  if (!mapped) return mapped.error();
  auto* page = *mapped;
  page_users users;
  const auto valid = check_content(path, *page);
  if (valid) {
    constexpr auto lately = std::chrono::seconds(1);
    lanes::host_board board(*page, 0);
    const auto now = clock::now();
    for (std::size_t i = 0; i < board.size(); ++i) {
      if (!is_locked(*file, offset_of(i))) continue;
      ++users.entries;
      users.realtime += now - board.last_seen_anywhere(i, now) < lately ? 1 : 0;
      users.bulk += now - board.bulk_was_sent_anywhere(i, now) < lately ? 1 : 0;
    }
  }
  ::munmap(page, sizeof(board_page));
  if (!valid) return valid.error();
  if (users.entries == board_page::most_entries) return all_taken(path);
  return users;
}

host_page::host_page(std::string path, host_share with) : path_(std::move(path)) {
  if (with != host_share::off) {
    if (const auto opened = open(with); !opened) why_not_ = opened.error().where();
  }
  if (!board_) {
    leave();
    board_.emplace();
  }
}

host_page::~host_page() {
  leave();
}

result<void> host_page::open(host_share with) {
  for (int i = 0; i < lock_tries; ++i) {
    const auto opened = open_file(path_, with, true);
    // Whoever makes it may not have opened it to the group yet.
    const bool may_come = !opened && with == host_share::group && i + 1 < lock_tries;
    if (!opened && !may_come) return opened.error();
    if (!opened || *opened < 0) { // or it was removed as it was opened
      std::this_thread::sleep_for(lock_pause);
      continue;
    }
    file_ = *opened;
    struct stat info {};
    if (::fstat(file_, &info) != 0) return failure(path_, "fstat", errno);
    if (const auto mine = check_owner(path_, info, with); !mine) return mine.error();
    if (!lock_for_a_while(file_)) break;
    if (::fstat(file_, &info) != 0) return failure(path_, "fstat", errno);
    if (info.st_nlink == 1) {
      const auto taken = take_entry();
      unlock(file_, 0);
      if (!taken) return taken.error();
      board_.emplace(*page_, *taken);
      return {};
    }
    ::close(std::exchange(file_, -1)); // the last one left meanwhile
  }
  return error(errc::os_failure, path_ + ": another process holds its lock");
}

/// With the file's lock held.
result<std::size_t> host_page::take_entry() {
  struct stat info {};
  if (::fstat(file_, &info) != 0) return failure(path_, "fstat", errno);
  const bool fresh = info.st_size == 0;
  if (!fresh && info.st_size != page_size) return error(errc::os_failure, path_ + ": is damaged; remove it");
  if (fresh) {
    // What is not there is not to be found missing when it is written to.
    if (const int code = ::posix_fallocate(file_, 0, page_size); code != 0)
      return failure(path_, "posix_fallocate", code);
  }
  const auto mapped = map(path_, file_);
  if (!mapped) return mapped.error();
  page_ = *mapped;
  if (fresh || page_->magic == decltype(page_->magic){}) { // or somebody died before he had filled it
    auto* page = new (page_) board_page;
    page->used = 0;
  } else if (const auto valid = check_content(path_, *page_); !valid) {
    return valid.error();
  }
  for (std::size_t i = 0; i < board_page::most_entries; ++i) {
    if (!lock(file_, offset_of(i))) continue;
    page_->entries[i].clear();
    if (page_->used <= i) page_->used = static_cast<std::uint32_t>(i) + 1;
    return i;
  }
  return all_taken(path_);
}

/// The last one removes the file, if it may, and unless it was killed: then the next one does. Locks are given back by
/// name: a child of fork has the file open too, and would keep them.
void host_page::leave() noexcept {
  if (file_ < 0) return;
  if (board_) {
    page_->entries[board_->own()].clear();
    unlock(file_, offset_of(board_->own()));
    if (lock_for_a_while(file_)) {
      bool others = false;
      for (std::size_t i = 0; i < board_page::most_entries; ++i) others |= is_locked(file_, offset_of(i));
      struct stat info {};
      const bool named = ::fstat(file_, &info) == 0 && info.st_nlink > 0; // else the name is another page's
      if (!others && named) ::unlink(path_.c_str());
      unlock(file_, 0);
    }
  }
  if (page_ != nullptr) ::munmap(std::exchange(page_, nullptr), sizeof(board_page));
  ::close(std::exchange(file_, -1));
}

} // namespace weft::fabrics

namespace weft {

sharing_status inspect_sharing(const config& settings) {
  const auto with = settings.values().host_share;
  sharing_status status;
  status.with = name(with);
  if (with == host_share::off) return status;
  status.page = fabrics::host_page::path_of(with);
  if (const auto users = fabrics::host_page::look(status.page, with); users) {
    status.fabrics = users->entries;
    status.realtime = users->realtime;
    status.bulk = users->bulk;
  } else {
    status.why_not = users.error().where();
  }
  return status;
}

} // namespace weft
