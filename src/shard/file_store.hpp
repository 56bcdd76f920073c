// Shards in a folder of a local disk. One store owns the folder and holds a lock on it; every call may come from any
// thread and may block on the disk, so none belongs on a data thread. The folder has
//   weft-store               the mark and the lock
//   manifests/NAME           one file a shard: see manifest.hpp, and name.hpp for NAME
//   data/NAME.VERSION        its bytes
//   incoming/N               what is being put; emptied when the store is opened
#pragma once

#include <weft/error.hpp>
#include <weft/id.hpp>
#include <weft/units.hpp>

#include "shard/catalogue.hpp"
#include "shard/file.hpp"
#include "shard/manifest.hpp"
#include "shard/open_shard.hpp"
#include "shard/put_in_progress.hpp"
#include "shard/system_calls.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

class file_store {
public:
  static constexpr std::size_t most_open_shards = 256;

  /// Makes the folder (its parent must exist) or takes over what a store left there: half-done puts are removed. A
  /// folder on a read-only file system is served as it is. `calls` outlives the store. Errors: os_failure when another
  /// store has the folder; invalid_argument when it holds other things; io_error and the like.
  /// Puts that would leave less than `low_space` free are refused.
  [[nodiscard]] static result<std::unique_ptr<file_store>> open(std::filesystem::path folder, system_calls& calls,
                                                                byte_count low_space = byte_count{0});

  file_store(const file_store&) = delete;
  file_store& operator=(const file_store&) = delete;

  /// Errors: not_found, bad_manifest, invalid_name.
  [[nodiscard]] result<shard_info> stat(std::string_view name, std::optional<id128> version = std::nullopt) const;

  /// At most `limit` names that begin with `prefix` and come after `after`, in byte order.
  [[nodiscard]] shard_page list(std::string_view prefix, std::string_view after, std::size_t limit) const;

  /// How many shards there are.
  [[nodiscard]] std::size_t size() const;

  /// The shard as it is now, or not_found when it is not of the version asked for. Errors: not_found, bad_manifest,
  /// invalid_name, io_error and the like.
  [[nodiscard]] result<std::shared_ptr<weft::open_shard>> open_shard(std::string_view name,
                                                                     std::optional<id128> version = std::nullopt);

  /// Errors: no_space at once when the disk cannot take `size` bytes and keep its low space; conflict when this version
  /// is here with another size; invalid_name, too_large, read_only, io_error and the like.
  [[nodiscard]] result<std::unique_ptr<put_in_progress>> begin_put(std::string_view name, const id128& version,
                                                                   std::uint64_t size);

  /// Takes the shard away, of any version or only of the one asked for: nobody finds it from then on, and it stays away
  /// after a crash. Who has it open reads on, and its space is freed behind the last of them. A damaged one can be
  /// removed too. Errors: as open_shard(), read_only.
  [[nodiscard]] result<void> remove(std::string_view name, std::optional<id128> version = std::nullopt);

  /// The shard opened for a check of what the disk itself holds: reads go around the page cache where the file system
  /// can do that. Errors: as open_shard().
  [[nodiscard]] result<std::shared_ptr<weft::open_shard>> open_uncached(std::string_view name) const;

  /// File names of manifests that could not be used when the store was opened. Their data is kept.
  [[nodiscard]] std::vector<std::string> damaged_manifests() const;

private:
  friend class put_in_progress;
  file_store(std::string folder, system_calls& calls, byte_count low_space);

  // file_store.cpp: taking over the folder
  using data_names = std::set<std::string, std::less<>>;
  [[nodiscard]] result<bool> take_folder();
  [[nodiscard]] result<bool> check_mark(bool writable);
  [[nodiscard]] result<void> make_folders(bool is_new);
  [[nodiscard]] result<data_names> load_catalogue();
  [[nodiscard]] result<std::optional<std::string>> load_one(std::string_view file_name);
  void remove_orphans(const data_names& current);
  [[nodiscard]] bool is_kept_data(std::string_view file_name, const data_names& current) const;
  [[nodiscard]] result<shard_info> read_header(std::string_view file_name) const;
  [[nodiscard]] std::string manifest_path(std::string_view name) const;
  [[nodiscard]] std::string data_path(std::string_view name, const id128& version) const;

  // file_store_read.cpp
  [[nodiscard]] result<shard_info> find_locked(std::string_view name, std::optional<id128> version) const;
  [[nodiscard]] result<std::shared_ptr<weft::open_shard>> load_current(std::string_view name,
                                                                       std::optional<id128> version, int flags) const;
  [[nodiscard]] result<manifest> read_manifest(std::string_view name) const;
  [[nodiscard]] result<std::shared_ptr<weft::open_shard>> load_shard(const shard_info& known, int flags = 0) const;

  // file_store_put.cpp
  [[nodiscard]] std::string next_temporary();
  void discard(const std::string& path);
  [[nodiscard]] result<void> settle(std::string_view name) const;
  [[nodiscard]] result<void> publish(const manifest& next, const std::string& temporary);
  [[nodiscard]] result<bool> is_repeat(const manifest& next, const std::optional<shard_info>& current) const;
  [[nodiscard]] result<void> place_data(const std::string& temporary, const std::string& data,
                                        std::string_view subject);
  [[nodiscard]] result<void> place_manifest(const manifest& next, std::string_view subject);
  void make_visible(const manifest& next);
  [[nodiscard]] result<void> check_space(std::string_view subject, std::uint64_t size) const;
  void discard_data_of(std::string_view name);

  const std::string folder_;
  const std::string subject_;
  system_calls& calls_;
  const byte_count low_space_;
  file mark_;
  file data_folder_;
  file manifest_folder_;
  std::atomic<std::uint64_t> next_temporary_ = 0;

  /// Held while a put replaces files, so that the catalogue and the folder agree whenever it is free. Taken before
  /// mutex_, and a mutex of its own so that look-ups do not wait for fsync.
  mutable std::mutex publishing_;

  /// Held from looking at the free space until it is taken, so that two puts do not both get the last of it.
  std::mutex space_;

  /// Guards what follows; never held while waiting for the disk.
  mutable std::mutex mutex_;
  catalogue catalogue_;
  std::set<std::string, std::less<>> damaged_;
  recently_open open_{most_open_shards};
};

} // namespace weft
