// Checking and writing the blocks of a put.
#include "shard/put_in_progress.hpp"

#include "base/crc32c.hpp"
#include "shard/file_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft {

put_in_progress::put_in_progress(file_store& store, manifest planned, file data, std::string temporary)
    : store_(store), already_there_(false), manifest_(std::move(planned)), subject_("shard " + manifest_.name),
      present_(block_count(manifest_.size)), temporary_(std::move(temporary)), data_(std::move(data)) {
  manifest_.block_crcs.resize(present_.size());
}

put_in_progress::put_in_progress(file_store& store, manifest stored)
    : store_(store), already_there_(true), manifest_(std::move(stored)), subject_("shard " + manifest_.name),
      present_(manifest_.block_crcs.size()) {}

put_in_progress::~put_in_progress() {
  if (!already_there_ && !committed_) store_.discard(temporary_);
}

result<void> put_in_progress::check_range(std::uint64_t offset, std::uint64_t length, std::uint64_t crcs) const {
  if (manifest_.covers_blocks(offset, length) && crcs == block_count(length)) return {};
  return error{errc::invalid_argument,
               fmt::format("{}: {} bytes at {} of {} with {} checksums are not whole blocks of {}", subject_, length,
                           offset, manifest_.size, crcs, block_size)};
}

result<void> put_in_progress::check_bytes(std::uint64_t first_block, std::span<const std::byte> bytes,
                                          std::span<const std::uint32_t> block_crcs) const {
  for (std::size_t i = 0; i < block_crcs.size(); ++i) {
    const auto rest = bytes.subspan(i * block_size);
    const auto crc = crc32c(rest.first(std::min<std::size_t>(rest.size(), block_size)));
    if (crc == block_crcs[i]) continue;
    return error{errc::checksum_mismatch, fmt::format("{}: block {} arrived with CRC {:08x}, its client says {:08x}",
                                                      subject_, first_block + i, crc, block_crcs[i])};
  }
  return {};
}

result<void> put_in_progress::write(std::uint64_t offset, std::span<const std::byte> bytes,
                                    std::span<const std::uint32_t> block_crcs) {
  if (auto fits = check_range(offset, bytes.size(), block_crcs.size()); !fits) return fits;
  const auto first_block = offset / block_size;
  if (auto intact = check_bytes(first_block, bytes, block_crcs); !intact) return intact;
  if (already_there_) return compare(first_block, block_crcs);
  if (auto written = data_.write(offset, bytes, subject_); !written) return written;
  for (std::size_t i = 0; i < block_crcs.size(); ++i) {
    manifest_.block_crcs[first_block + i] = block_crcs[i];
    present_[first_block + i] = 1;
  }
  return {};
}

result<void> put_in_progress::compare(std::uint64_t first_block, std::span<const std::uint32_t> block_crcs) {
  const auto blocks = present_.size();
  if (!already_there_ || first_block > blocks || block_crcs.size() > blocks - first_block) {
    return error{errc::invalid_argument,
                 fmt::format("{}: {} checksums from block {} on cannot be compared with {}", subject_,
                             block_crcs.size(), first_block, already_there_ ? blocks : 0)};
  }
  for (std::size_t i = 0; i < block_crcs.size(); ++i) {
    const auto block = first_block + i;
    if (manifest_.block_crcs[block] != block_crcs[i]) {
      return error{errc::conflict, fmt::format("{}: version {} is here with another block {}", subject_,
                                               to_string(manifest_.version), block)};
    }
    present_[block] = 1;
  }
  return {};
}

result<void> put_in_progress::commit() {
  if (committed_) return error{errc::invalid_argument, subject_ + ": committed before"};
  if (const auto gap = std::find(present_.begin(), present_.end(), 0); gap != present_.end()) {
    return error{errc::invalid_argument,
                 fmt::format("{}: block {} of {} was not written", subject_, gap - present_.begin(), present_.size())};
  }
  if (already_there_) {
    if (auto durable = store_.settle(manifest_.name); !durable) return durable;
  } else {
    if (auto synced = data_.sync(subject_); !synced) return synced;
    if (auto published = store_.publish(manifest_, temporary_); !published) return published;
  }
  committed_ = true;
  return {};
}

} // namespace weft
