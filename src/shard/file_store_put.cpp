// Puts and removals: making room, and the order of steps that makes a shard durable before it is visible, and visible
// whole or not at all, whenever the process or the machine stops.
#include "shard/file_store.hpp"

#include "shard/name.hpp"

#include <fmt/format.h>

#include <fcntl.h>

#include <utility>

namespace weft {
namespace {

/// A stored version that cannot be read any more is to be replaced, by a put of the same version as well. Any other
/// error (too few descriptors, say) speaks of the moment, not of the shard.
bool beyond_use(const error& failure) {
  return failure == errc::bad_manifest || failure == errc::io_error;
}

} // namespace

result<std::unique_ptr<put_in_progress>> file_store::begin_put(std::string_view name, const id128& version,
                                                               std::uint64_t size) {
  auto opened = open_shard(name, version);
  if (opened) {
    const manifest& stored = (*opened)->manifest();
    if (stored.size == size) return std::unique_ptr<put_in_progress>{new put_in_progress(*this, stored)};
    return error{errc::conflict, fmt::format("shard {}: version {} is here with {} bytes, not {}", name,
                                             to_string(version), stored.size, size)};
  }
  if (opened.error() != errc::not_found && !beyond_use(opened.error())) return opened.error();

  const std::string subject = fmt::format("shard {}", name);
  const std::scoped_lock taking{space_};
  if (auto room = check_space(subject, size); !room) return room.error();
  std::string temporary = next_temporary();
  auto data = file::open(calls_, temporary, O_RDWR | O_CREAT | O_EXCL, subject);
  if (!data) return data.error();
  if (auto room = data->allocate(size, subject); !room) {
    discard(temporary);
    return room.error();
  }
  manifest planned{std::string{name}, version, size, {}};
  return std::unique_ptr<put_in_progress>{
      new put_in_progress(*this, std::move(planned), std::move(*data), std::move(temporary))};
}

/// A disk that is full to the last byte takes down more than the store.
result<void> file_store::check_space(std::string_view subject, std::uint64_t size) const {
  if (low_space_ == byte_count{0}) return {};
  const auto free = uninterrupted([&] { return calls_.free_space(mark_.descriptor()); });
  if (free < 0) return storage_failure(free, "statvfs", subject);
  const auto bytes = static_cast<std::uint64_t>(free);
  if (bytes >= low_space_.value() && bytes - low_space_.value() >= size) return {};
  return error{errc::no_space, fmt::format("{}: {} bytes, with {} free and {} to be kept free (shard.low_space)",
                                           subject, size, bytes, low_space_.value())};
}

/// The folder was emptied when the lock was taken, so a count is unique.
std::string file_store::next_temporary() {
  return fmt::format("{}/incoming/{}", folder_, next_temporary_++);
}

/// Where this fails, the file stays until the store is opened next.
void file_store::discard(const std::string& path) {
  uninterrupted([&] { return calls_.unlink(path); });
}

/// Before a repeat is acknowledged: the put that made the shard visible may have failed at its very last step.
result<void> file_store::settle(std::string_view name) const {
  return manifest_folder_.sync(fmt::format("shard {}", name));
}

result<void> file_store::publish(const manifest& next, const std::string& temporary) {
  const std::string subject = "shard " + next.name;
  const std::scoped_lock order{publishing_};
  std::optional<shard_info> previous;
  {
    const std::scoped_lock lock{mutex_};
    previous = catalogue_.find(next.name);
  }
  const auto repeat = is_repeat(next, previous);
  if (!repeat) return repeat.error();
  if (*repeat) {
    discard(temporary);
    return settle(next.name);
  }
  const std::string data = data_path(next.name, next.version);
  if (auto placed = place_data(temporary, data, subject); !placed) return placed;
  if (auto placed = place_manifest(next, subject); !placed) {
    discard(data);
    return placed;
  }
  // The folder says so now, and the catalogue follows it. Until it is certain to say so after a crash as well, the
  // version before must stay readable.
  const auto durable = manifest_folder_.sync(subject);
  make_visible(next);
  if (!durable) return durable;
  if (previous && previous->version != next.version) discard(data_path(previous->name, previous->version));
  return {};
}

/// Whether another put of this version came first. Errors: conflict if that one had other contents.
result<bool> file_store::is_repeat(const manifest& next, const std::optional<shard_info>& current) const {
  if (!current || current->version != next.version) return false;
  const auto stored = load_shard(*current);
  if (!stored && beyond_use(stored.error())) return false;
  if (!stored) return stored.error();
  if ((*stored)->manifest() == next) return true;
  return error{errc::conflict, fmt::format("shard {}: version {} was put meanwhile with other contents", next.name,
                                           to_string(next.version))};
}

/// Its bytes are synced already; the name must be as durable before a manifest speaks of it.
result<void> file_store::place_data(const std::string& temporary, const std::string& data, std::string_view subject) {
  const int renamed = uninterrupted([&] { return calls_.rename(temporary, data); });
  if (renamed < 0) return storage_failure(renamed, "rename to " + data, subject);
  auto synced = data_folder_.sync(subject);
  if (!synced) discard(data);
  return synced;
}

/// Up to the rename, which is the moment at which the new version takes the place of the old.
result<void> file_store::place_manifest(const manifest& next, std::string_view subject) {
  const std::string temporary = next_temporary();
  const std::string path = manifest_path(next.name);
  auto opened = file::open(calls_, temporary, O_WRONLY | O_CREAT | O_EXCL, subject);
  if (!opened) return opened.error();
  auto outcome = opened->write(0, encode(next), subject);
  if (outcome) outcome = opened->sync(subject);
  if (outcome) {
    const int renamed = uninterrupted([&] { return calls_.rename(temporary, path); });
    if (renamed < 0) outcome = storage_failure(renamed, "rename to " + path, subject);
  }
  if (!outcome) discard(temporary);
  return outcome;
}

void file_store::make_visible(const manifest& next) {
  std::shared_ptr<weft::open_shard> leaving; // destroyed after the lock is released
  const std::scoped_lock lock{mutex_};
  catalogue_.set(next.name, next.version, next.size);
  damaged_.erase(file_name_of(next.name));
  leaving = open_.erase(next.name);
}

result<void> file_store::remove(std::string_view name, std::optional<id128> version) {
  if (auto valid = check_shard_name(name); !valid) return valid;
  const std::string subject = fmt::format("shard {}", name);
  const std::scoped_lock order{publishing_};
  result<shard_info> known = errc::not_found;
  {
    const std::scoped_lock lock{mutex_};
    known = find_locked(name, version);
  }
  // Of a damaged one nobody knows the version: it goes only when that does not matter.
  if (!known && (known.error() != errc::bad_manifest || version)) {
    // It may be gone by a removal that failed at its last step: only a durable one is not_found.
    if (auto durable = settle(name); !durable) return durable;
    return known.error();
  }
  const int gone = uninterrupted([&] { return calls_.unlink(manifest_path(name)); });
  if (gone < 0 && gone != -ENOENT) return storage_failure(gone, "unlink " + manifest_path(name), subject);
  // Without its manifest the shard is no more. Its data goes only when that is certain to outlast a crash: a manifest
  // without data would be worse than either.
  const auto durable = manifest_folder_.sync(subject);
  std::shared_ptr<weft::open_shard> leaving; // destroyed after the lock is released
  {
    const std::scoped_lock lock{mutex_};
    catalogue_.erase(name);
    damaged_.erase(file_name_of(name));
    leaving = open_.erase(name);
  }
  if (!durable) return durable;
  if (known) {
    discard(data_path(name, known->version));
  } else {
    discard_data_of(name);
  }
  return {};
}

/// Of all versions, as a damaged manifest does not tell which there is.
void file_store::discard_data_of(std::string_view name) {
  const auto file_name = file_name_of(name);
  std::vector<std::string> found;
  calls_.list_folder(folder_ + "/data", [&](std::string_view each) {
    const auto dot = each.rfind('.');
    if (dot != each.npos && each.substr(0, dot) == file_name) found.push_back(fmt::format("{}/data/{}", folder_, each));
  });
  for (const auto& path : found) discard(path);
}

} // namespace weft
