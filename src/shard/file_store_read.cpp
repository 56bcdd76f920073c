// Looking up, listing and opening shards.
#include "shard/file_store.hpp"

#include "shard/name.hpp"

#include <fmt/format.h>

#include <fcntl.h>

#include <algorithm>

namespace weft {

result<shard_info> file_store::find_locked(std::string_view name, std::optional<id128> version) const {
  const auto found = catalogue_.find(name);
  if (!found && damaged_.contains(file_name_of(name))) {
    return error{errc::bad_manifest, fmt::format("shard {}: {}", name, manifest_path(name))};
  }
  if (!found) return error{errc::not_found, fmt::format("shard {}", name)};
  if (version && *version != found->version) {
    return error{errc::not_found, fmt::format("shard {}: version {} is not here, version {} is", name,
                                              to_string(*version), to_string(found->version))};
  }
  return *found;
}

result<shard_info> file_store::stat(std::string_view name, std::optional<id128> version) const {
  if (auto valid = check_shard_name(name); !valid) return valid.error();
  const std::scoped_lock lock{mutex_};
  return find_locked(name, version);
}

shard_page file_store::list(std::string_view prefix, std::string_view after, std::size_t limit) const {
  const std::scoped_lock lock{mutex_};
  return catalogue_.list(prefix, after, limit);
}

std::size_t file_store::size() const {
  const std::scoped_lock lock{mutex_};
  return catalogue_.size();
}

std::vector<std::string> file_store::damaged_manifests() const {
  const std::scoped_lock lock{mutex_};
  return {damaged_.begin(), damaged_.end()};
}

result<std::shared_ptr<weft::open_shard>> file_store::open_shard(std::string_view name, std::optional<id128> version) {
  if (auto valid = check_shard_name(name); !valid) return valid.error();
  std::unique_lock lock{mutex_};
  auto known = find_locked(name, version);
  if (!known) return known.error();
  if (auto open = open_.find(name)) return open;
  lock.unlock();
  auto opened = load_current(name, version, 0);
  if (!opened) return opened;
  std::shared_ptr<weft::open_shard> leaving; // destroyed after the lock is released
  const std::scoped_lock again{mutex_};
  const auto current = catalogue_.find(name);
  if (current && current->version == (*opened)->manifest().version) leaving = open_.insert(*opened);
  return opened;
}

/// The shard as the catalogue has it.
result<std::shared_ptr<weft::open_shard>> file_store::load_current(std::string_view name, std::optional<id128> version,
                                                                   int flags) const {
  const auto find = [&] {
    const std::scoped_lock lock{mutex_};
    return find_locked(name, version);
  };
  const auto known = find();
  if (!known) return known.error();
  auto opened = load_shard(*known, flags);
  if (opened) return opened;
  // A put or a removal may have changed the files since the look-up; none can while the order of publishing is held.
  const std::scoped_lock order{publishing_};
  const auto now = find();
  if (!now) return now.error();
  return load_shard(*now, flags);
}

result<manifest> file_store::read_manifest(std::string_view name) const {
  const std::string subject = fmt::format("shard {}", name);
  const std::string path = manifest_path(name);
  const auto opened = file::open(calls_, path, O_RDONLY, subject);
  if (!opened) return opened.error();
  const auto size = opened->size(subject);
  if (!size) return size.error();
  std::vector<std::byte> bytes(*size);
  if (auto read = opened->read(0, bytes, subject); !read) return read.error();
  auto stored = decode_manifest(bytes, path);
  if (stored && stored->name != name) {
    return error{errc::bad_manifest, fmt::format("{}: holds the manifest of another shard", path)};
  }
  return stored;
}

result<std::shared_ptr<weft::open_shard>> file_store::load_shard(const shard_info& known, int flags) const {
  const std::string subject = "shard " + known.name;
  auto stored = read_manifest(known.name);
  if (!stored) return stored.error();
  if (stored->version != known.version || stored->size != known.size) {
    return error{errc::bad_manifest, fmt::format("{}: the manifest was changed from outside", subject)};
  }
  auto data = file::open(calls_, data_path(known.name, known.version), O_RDONLY | flags, subject);
  if (!data) return data.error();
  const auto size = data->size(subject);
  if (!size) return size.error();
  if (*size != known.size) {
    return error{errc::io_error, fmt::format("{}: the data file has {} of {} bytes", subject, *size, known.size)};
  }
  return std::make_shared<weft::open_shard>(std::move(*stored), std::move(*data));
}

result<std::shared_ptr<weft::open_shard>> file_store::open_uncached(std::string_view name) const {
  auto opened = load_current(name, std::nullopt, O_DIRECT);
  return opened ? opened : load_current(name, std::nullopt, 0); // tmpfs, for one, has no O_DIRECT
}

} // namespace weft
