// Checking and writing the blocks of a put.
#include "shard/put_in_progress.hpp"

#include "base/crc32c.hpp"
#include "shard/file_store.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weft {

void arrived_blocks::add(std::uint64_t first, std::span<const std::uint32_t> crcs) {
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < crcs.size(); ++i) {
    auto& [there, known] = pages_[(first + i) / page_blocks];
    there.set((first + i) % page_blocks);
    known[(first + i) % page_blocks] = crcs[i];
  }
}

std::uint64_t arrived_blocks::first_gap(std::uint64_t count) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t block = 0;
  for (const auto& [number, page] : pages_) {
    if (number != block / page_blocks) return block;
    for (; block < count && block / page_blocks == number; ++block) {
      if (!page.there.test(block % page_blocks)) return block;
    }
  }
  return block;
}

std::vector<std::uint32_t> arrived_blocks::crcs(std::uint64_t count) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::uint32_t> all;
  all.reserve(count);
  for (const auto& [number, page] : pages_) {
    const auto in_page = std::min(page_blocks, count - all.size());
    all.insert(all.end(), page.crcs.begin(), page.crcs.begin() + static_cast<std::ptrdiff_t>(in_page));
  }
  return all;
}

put_in_progress::put_in_progress(file_store& store, manifest planned, file data, std::string temporary)
    : store_(store), already_there_(false), manifest_(std::move(planned)), subject_("shard " + manifest_.name),
      temporary_(std::move(temporary)), data_(std::move(data)) {}

put_in_progress::put_in_progress(file_store& store, manifest stored)
    : store_(store), already_there_(true), manifest_(std::move(stored)), subject_("shard " + manifest_.name) {}

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
  arrived_.add(first_block, block_crcs);
  return {};
}

result<void> put_in_progress::compare(std::uint64_t first_block, std::span<const std::uint32_t> block_crcs) {
  const auto blocks = manifest_.block_crcs.size();
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
  }
  arrived_.add(first_block, block_crcs);
  return {};
}

result<void> put_in_progress::commit() {
  if (committed_) return error{errc::invalid_argument, subject_ + ": committed before"};
  const auto blocks = block_count(manifest_.size);
  if (const auto gap = arrived_.first_gap(blocks); gap < blocks) {
    return error{errc::invalid_argument, fmt::format("{}: block {} of {} was not written", subject_, gap, blocks)};
  }
  if (already_there_) {
    if (auto durable = store_.settle(manifest_.name); !durable) return durable;
  } else {
    manifest_.block_crcs = arrived_.crcs(blocks);
    if (auto synced = data_.sync(subject_); !synced) return synced;
    if (auto published = store_.publish(manifest_, temporary_); !published) return published;
  }
  committed_ = true;
  return {};
}

} // namespace weft
