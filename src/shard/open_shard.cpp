// Reading an open shard, and keeping the recent ones open.
#include "shard/open_shard.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weft {

open_shard::open_shard(weft::manifest stored, file data)
    : manifest_(std::move(stored)), subject_("shard " + manifest_.name), data_(std::move(data)) {}

result<void> open_shard::read(std::uint64_t offset, std::span<std::byte> into) const {
  if (offset > manifest_.size || into.size() > manifest_.size - offset) {
    return error{errc::invalid_argument,
                 fmt::format("{}: {} bytes at {} of {}", subject_, into.size(), offset, manifest_.size)};
  }
  return data_.read(offset, into, subject_);
}

result<void> open_shard::check_block(std::uint64_t block, std::span<std::byte> memory) const {
  const auto offset = block * block_size;
  const auto length = static_cast<std::size_t>(std::min(block_size, manifest_.size - offset));
  const auto got = data_.read_some(offset, memory, subject_, length);
  if (!got) return got.error();
  if (*got < length) {
    return error{errc::io_error,
                 fmt::format("{}: block {}: the file ends {} bytes early", subject_, block, length - *got)};
  }
  return manifest_.check_block(block, memory.first(length));
}

verification::verification(std::shared_ptr<const open_shard> shard) : shard_(std::move(shard)) {}

bool verification::check(std::uint64_t most) {
  std::vector<std::byte> buffer(block_size); // those that wait for their turn need none
  for (; most > 0 && next_ < blocks(); --most, ++next_) {
    if (!shard_->check_block(next_, buffer)) bad_.push_back(next_);
  }
  return next_ < blocks();
}

std::string verification::progress() const {
  return fmt::format("shard {}: {} of {} blocks were checked", of().name, next_, blocks());
}

std::shared_ptr<open_shard> recently_open::find(std::string_view name) {
  auto found = erase(name);
  if (found) shards_.push_back(found);
  return found;
}

std::shared_ptr<open_shard> recently_open::insert(std::shared_ptr<open_shard> shard) {
  auto leaving = erase(shard->manifest().name);
  if (shards_.size() == most_) {
    leaving = std::move(shards_.front());
    shards_.erase(shards_.begin());
  }
  shards_.push_back(std::move(shard));
  return leaving;
}

std::shared_ptr<open_shard> recently_open::erase(std::string_view name) {
  const auto found =
      std::find_if(shards_.begin(), shards_.end(), [&](const auto& shard) { return shard->manifest().name == name; });
  if (found == shards_.end()) return nullptr;
  auto leaving = std::move(*found);
  shards_.erase(found);
  return leaving;
}

} // namespace weft
