// A disk in memory that forgets: every change is noted, and a crash after any of them keeps what fsync has made durable
// and whatever else it likes of the rest. Used on one thread.
#pragma once

#include "shard/system_calls.hpp"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::test {

class crash_disk final : public system_calls {
public:
  /// What a crash keeps of the changes that are not durable, asked with the number of each in the record.
  using keeps = std::function<bool(std::size_t change)>;

  crash_disk() { folder("/"); }

  /// All is durable now, and the record of changes begins anew.
  void start_record() {
    record_.clear();
    before_ = inodes_;
    entries_before_ = entries_;
  }
  /// Changes and fsyncs since then.
  [[nodiscard]] std::size_t steps() const { return record_.size(); }
  /// Which of the steps are fsyncs.
  [[nodiscard]] std::vector<std::size_t> syncs() const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < record_.size(); ++i) {
      if (record_[i].what == change::sync) found.push_back(i);
    }
    return found;
  }
  [[nodiscard]] std::string text_of(std::size_t step) const { return record_[step].text; }

  /// The changes among the first `steps` that no fsync has made durable; the fsync number `missing` is as if never
  /// made.
  [[nodiscard]] std::vector<std::size_t> loose(std::size_t steps, std::size_t missing) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < steps; ++i) {
      if (record_[i].what != change::sync && !is_durable(i, steps, missing)) found.push_back(i);
    }
    return found;
  }

  /// The disk after a crash behind the first `steps`.
  [[nodiscard]] std::unique_ptr<crash_disk> crashed(std::size_t steps, std::size_t missing, const keeps& kept) const {
    auto after = std::make_unique<crash_disk>();
    after->inodes_ = before_;
    after->entries_ = entries_before_;
    after->last_inode_ = last_inode_;
    for (std::size_t i = 0; i < steps; ++i) {
      if (record_[i].what == change::sync) continue;
      if (is_durable(i, steps, missing) || kept(i)) after->apply(record_[i]);
    }
    // With a folder's own name goes what is in it. A parent comes before its children in this order.
    std::erase_if(after->entries_, [&](const auto& each) { return !after->entries_.contains(parent(each.first)); });
    after->start_record();
    return after;
  }

  [[nodiscard]] std::vector<std::string> files(const std::string& folder) const {
    std::vector<std::string> found;
    for (const auto& [path, inode] : entries_) {
      if (path != "/" && parent(path) == folder) found.push_back(path.substr(folder.size() + 1));
    }
    return found;
  }

  int open(const std::string& path, int flags) override {
    const auto found = entries_.find(path);
    if (found != entries_.end() && (flags & O_CREAT) && (flags & O_EXCL)) return -EEXIST;
    if (found == entries_.end()) {
      if ((flags & O_CREAT) == 0 || !entries_.contains(parent(path))) return -ENOENT;
      make(path, false);
    }
    descriptors_[++last_descriptor_] = entries_.at(path);
    return last_descriptor_;
  }
  void close(int descriptor) override { descriptors_.erase(descriptor); }

  ssize_t pread(int descriptor, std::span<std::byte> into, std::uint64_t offset) override {
    const auto& bytes = inodes_.at(descriptors_.at(descriptor)).bytes;
    if (offset >= bytes.size()) return 0;
    const auto count = std::min<std::size_t>(into.size(), bytes.size() - offset);
    std::memcpy(into.data(), bytes.data() + offset, count);
    return static_cast<ssize_t>(count);
  }
  ssize_t pwrite(int descriptor, std::span<const std::byte> bytes, std::uint64_t offset) override {
    note({change::write, "write", {}, {}, descriptors_.at(descriptor), offset, {bytes.begin(), bytes.end()}});
    return static_cast<ssize_t>(bytes.size());
  }
  int fsync(int descriptor) override {
    const auto inode = descriptors_.at(descriptor);
    std::string path;
    for (const auto& [name, at] : entries_) {
      if (at == inode) path = name;
    }
    note({change::sync, "fsync of " + path, path, {}, inode, 0, {}});
    return 0;
  }
  int allocate(int descriptor, std::uint64_t length) override { return truncate(descriptor, length); }
  int truncate(int descriptor, std::uint64_t length) override {
    note({change::length, "length", {}, {}, descriptors_.at(descriptor), length, {}});
    return 0;
  }
  std::int64_t file_size(int descriptor) override {
    return static_cast<std::int64_t>(inodes_.at(descriptors_.at(descriptor)).bytes.size());
  }
  std::int64_t free_space(int) override { return std::int64_t{1} << 40; }
  int lock(int) override { return 0; }
  int rename(const std::string& from, const std::string& to) override {
    if (!entries_.contains(from)) return -ENOENT;
    note({change::rename, "rename to " + to, from, to, entries_.at(from), 0, {}});
    return 0;
  }
  int unlink(const std::string& path) override {
    if (!entries_.contains(path)) return -ENOENT;
    note({change::unlink, "unlink " + path, path, {}, entries_.at(path), 0, {}});
    return 0;
  }
  int mkdir(const std::string& path) override {
    if (entries_.contains(path)) return -EEXIST;
    make(path, true);
    return 0;
  }
  int list_folder(const std::string& path, const std::function<void(std::string_view)>& visit) override {
    for (const auto& name : files(path)) visit(name);
    return 0;
  }

private:
  struct inode {
    bool folder = false;
    std::vector<std::byte> bytes;
  };
  enum class change : std::uint8_t { link, rename, unlink, write, length, sync };
  struct step {
    change what;
    std::string text;
    std::string path; ///< of the entry; of a rename, the old one
    std::string to;
    std::uint64_t inode;
    std::uint64_t at; ///< write: offset; length: the new one
    std::vector<std::byte> bytes;
    bool folder = false; ///< link: makes one
  };

  static std::string parent(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
  }

  void folder(const std::string& path) {
    entries_[path] = ++last_inode_;
    inodes_[last_inode_].folder = true;
    start_record();
  }

  void make(const std::string& path, bool is_folder) {
    step made{change::link, "make " + path, path, {}, ++last_inode_, 0, {}};
    made.folder = is_folder;
    note(std::move(made));
  }

  void note(step made) {
    apply(made);
    record_.push_back(std::move(made));
  }

  void apply(const step& made) {
    switch (made.what) {
      case change::link:
        entries_[made.path] = made.inode;
        inodes_[made.inode].folder = made.folder;
        break;
      case change::rename: {
        const auto old = entries_.find(made.path);
        if (old != entries_.end() && old->second == made.inode) entries_.erase(old);
        entries_[made.to] = made.inode;
        std::ignore = inodes_[made.inode];
        break;
      }
      case change::unlink: {
        const auto old = entries_.find(made.path);
        if (old != entries_.end() && old->second == made.inode) entries_.erase(old);
        break;
      }
      case change::write: {
        auto& bytes = inodes_[made.inode].bytes;
        bytes.resize(std::max<std::size_t>(bytes.size(), made.at + made.bytes.size()));
        std::copy(made.bytes.begin(), made.bytes.end(), bytes.begin() + static_cast<std::ptrdiff_t>(made.at));
        break;
      }
      case change::length: inodes_[made.inode].bytes.resize(made.at); break;
      case change::sync: break;
    }
    last_inode_ = std::max(last_inode_, made.inode);
  }

  /// Whether an fsync behind it covers it: of the file, for its bytes; of the folder, for a name in it.
  bool is_durable(std::size_t number, std::size_t steps, std::size_t missing) const {
    const auto& made = record_[number];
    for (auto i = number + 1; i < steps; ++i) {
      const auto& sync = record_[i];
      if (sync.what != change::sync || i == missing) continue;
      const bool bytes = made.what == change::write || made.what == change::length;
      const auto& name = made.what == change::rename ? made.to : made.path;
      if (bytes ? sync.inode == made.inode : sync.path == parent(name)) return true;
    }
    return false;
  }

  std::map<std::string, std::uint64_t> entries_;
  std::map<std::uint64_t, inode> inodes_;
  std::map<std::string, std::uint64_t> entries_before_;
  std::map<std::uint64_t, inode> before_;
  std::vector<step> record_;
  std::map<int, std::uint64_t> descriptors_;
  int last_descriptor_ = 100;
  std::uint64_t last_inode_ = 0;
};

} // namespace weft::test
