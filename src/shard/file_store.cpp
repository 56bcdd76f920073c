// Opening a store: the folder's mark and lock, the catalogue out of the manifests, and the removal of what puts that
// never ended have left. Runs before any other thread knows the store.
#include "shard/file_store.hpp"

#include "shard/name.hpp"

#include <fmt/format.h>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <utility>

namespace weft {
namespace {

constexpr std::string_view mark_name = "weft-store";
constexpr std::string_view mark_text = "weft file store, format 1\n";

/// A path that leads nowhere is the caller's mistake, not the device's.
error unusable(int code, std::string_view call, std::string_view subject) {
  auto failure = storage_failure(code, call, subject);
  return code == -ENOENT || code == -ENOTDIR ? error{errc::invalid_argument, failure.where()} : failure;
}

/// Emptying `incoming` and dropping unknown data would be a disaster in a folder that is not ours.
result<void> check_empty(system_calls& calls, const std::string& folder, std::string_view subject) {
  std::string found;
  const int listed = calls.list_folder(folder, [&](std::string_view name) {
    if (name != mark_name && name != "lost+found") found = name;
  });
  if (listed < 0) return unusable(listed, "readdir", subject);
  if (found.empty()) return {};
  return error{errc::invalid_argument,
               fmt::format("{}: has no {} and is not empty: it holds {}", subject, mark_name, found)};
}

std::string data_name(std::string_view manifest_name, const id128& version) {
  return fmt::format("{}.{}", manifest_name, to_string(version));
}

} // namespace

file_store::file_store(std::string folder, system_calls& calls, byte_count low_space)
    : folder_(std::move(folder)), subject_("store " + folder_), calls_(calls), low_space_(low_space) {}

result<std::unique_ptr<file_store>> file_store::open(std::filesystem::path folder, system_calls& calls,
                                                     byte_count low_space) {
  if (!folder.has_filename()) folder = folder.parent_path(); // "/store/", whose parent is not "/store"
  std::unique_ptr<file_store> store{new file_store(folder.string(), calls, low_space)};
  const auto is_new = store->take_folder();
  if (!is_new) return is_new.error();
  if (auto made = store->make_folders(*is_new); !made) return made.error();
  const auto current = store->load_catalogue();
  if (!current) return current.error();
  store->remove_orphans(*current);
  return store;
}

/// Whether it is new.
result<bool> file_store::take_folder() {
  const int made = calls_.mkdir(folder_);
  if (made < 0 && made != -EEXIST) return unusable(made, "mkdir", subject_);
  const std::string path = fmt::format("{}/{}", folder_, mark_name);
  const auto open_mark = [&](int flags) { return uninterrupted([&] { return calls_.open(path, flags); }); };

  bool writable = true;
  int descriptor = open_mark(O_RDWR);
  if (descriptor == -ENOENT) {
    if (auto empty = check_empty(calls_, folder_, subject_); !empty) return empty.error();
    descriptor = open_mark(O_RDWR | O_CREAT);
  } else if (descriptor == -EROFS || descriptor == -EACCES) {
    writable = false;
    descriptor = open_mark(O_RDONLY);
  }
  if (descriptor < 0) return unusable(descriptor, "open " + path, subject_);
  mark_ = file{calls_, descriptor};

  const int locked = uninterrupted([&] { return calls_.lock(descriptor); });
  if (locked == -EWOULDBLOCK) {
    return error{errc::os_failure, fmt::format("{}: in use by another store, in this process or another", subject_)};
  }
  if (locked < 0) return storage_failure(locked, "flock", subject_);
  return check_mark(writable);
}

/// Whether it is empty: the store is new, or whoever made it did not get far.
result<bool> file_store::check_mark(bool writable) {
  std::array<std::byte, mark_text.size() + 1> buffer{};
  const auto length = mark_.read_some(0, buffer, subject_);
  if (!length) return length.error();
  if (*length == 0 && writable) return true;
  if (std::string_view{reinterpret_cast<const char*>(buffer.data()), *length} == mark_text) return false;
  return error{errc::bad_manifest, fmt::format("{}: {} is of an unknown format", subject_, mark_name)};
}

/// The text of the mark says that all of it is on the disk.
result<void> file_store::make_folders(bool is_new) {
  for (const char* name : {"/incoming", "/data", "/manifests"}) {
    const int made = calls_.mkdir(folder_ + name);
    if (made < 0 && made != -EEXIST) return storage_failure(made, std::string{"mkdir "} + name, subject_);
    is_new = is_new || made == 0; // somebody may have taken it away
  }
  constexpr int flags = O_RDONLY | O_DIRECTORY;
  if (is_new) {
    // The folder itself may be as new as what it holds.
    const auto parent = std::filesystem::path{folder_}.parent_path().string();
    for (const std::string& path : {folder_, parent.empty() ? std::string{"."} : parent}) {
      const auto opened = file::open(calls_, path, flags, subject_);
      if (!opened) return opened.error();
      if (auto synced = opened->sync(subject_); !synced) return synced;
    }
    if (auto written = mark_.write(0, std::as_bytes(std::span(mark_text)), subject_); !written) return written;
    if (auto synced = mark_.sync(subject_); !synced) return synced;
  }
  auto data = file::open(calls_, folder_ + "/data", flags, subject_);
  if (!data) return data.error();
  auto manifests = file::open(calls_, folder_ + "/manifests", flags, subject_);
  if (!manifests) return manifests.error();
  data_folder_ = std::move(*data);
  manifest_folder_ = std::move(*manifests);
  return {};
}

/// Tells which files in data/ the good manifests speak of.
result<file_store::data_names> file_store::load_catalogue() {
  data_names current;
  result<void> outcome;
  const int listed = calls_.list_folder(folder_ + "/manifests", [&](std::string_view file_name) {
    if (!outcome) return;
    auto data = load_one(file_name);
    if (!data) {
      outcome = data.error();
    } else if (*data) {
      current.insert(std::move(**data));
    }
  });
  if (!outcome) return outcome.error();
  if (listed < 0) return storage_failure(listed, "readdir", subject_);
  return current;
}

/// The name of its file in data/, or none when it is damaged. One bad manifest costs one shard, not the store; what the
/// process lacks (descriptors, memory) fails the opening.
result<std::optional<std::string>> file_store::load_one(std::string_view file_name) {
  const auto header = read_header(file_name);
  if (header && file_name_of(header->name) == file_name) {
    catalogue_.set(header->name, header->version, header->size);
    return data_name(file_name, header->version);
  }
  if (!header && header.error() != errc::bad_manifest && header.error() != errc::io_error) return header.error();
  damaged_.emplace(file_name);
  return std::nullopt;
}

result<shard_info> file_store::read_header(std::string_view file_name) const {
  const std::string path = fmt::format("{}/manifests/{}", folder_, file_name);
  const auto opened = file::open(calls_, path, O_RDONLY, subject_);
  if (!opened) return opened.error();
  std::array<std::byte, longest_manifest_header> buffer;
  const auto length = opened->read_some(0, buffer, subject_);
  if (!length) return length.error();
  return decode_manifest_header(std::span(buffer).first(*length), path);
}

/// Failures are passed over: what cannot be removed now is no worse than before, and is tried again next time. No
/// manifest is read again for it: one that cannot be read this moment would cost its data.
void file_store::remove_orphans(const data_names& current) {
  // The last process may have died between renaming a manifest and making that durable. As long as the machine could
  // still fall back to the manifest before, the data which that one speaks of is no orphan.
  if (!manifest_folder_.sync(subject_)) return;
  std::vector<std::string> orphans;
  calls_.list_folder(folder_ + "/incoming",
                     [&](std::string_view name) { orphans.push_back(fmt::format("{}/incoming/{}", folder_, name)); });
  calls_.list_folder(folder_ + "/data", [&](std::string_view name) {
    if (!is_kept_data(name, current)) orphans.push_back(fmt::format("{}/data/{}", folder_, name));
  });
  for (const std::string& path : orphans) {
    discard(path);
  }
}

/// Whether a file in data/ is needed, may be needed once its manifest is healed, or is not the store's to judge.
bool file_store::is_kept_data(std::string_view file_name, const data_names& current) const {
  const auto dot = file_name.rfind('.');
  if (dot == std::string_view::npos || !id128::from_string(file_name.substr(dot + 1))) return true;
  return damaged_.contains(file_name.substr(0, dot)) || current.contains(file_name);
}

std::string file_store::manifest_path(std::string_view name) const {
  return fmt::format("{}/manifests/{}", folder_, file_name_of(name));
}

std::string file_store::data_path(std::string_view name, const id128& version) const {
  return fmt::format("{}/data/{}", folder_, data_name(file_name_of(name), version));
}

} // namespace weft
