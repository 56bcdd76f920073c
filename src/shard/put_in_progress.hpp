// A shard that is being written: invisible until commit(), gone without a trace when dropped before. It belongs to the
// connection or caller that puts; write() and compare() may come from several threads at once for ranges that do not
// overlap.
#pragma once

#include <weft/error.hpp>

#include "shard/file.hpp"
#include "shard/manifest.hpp"

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace weft {

class file_store;

/// Which blocks of a put have come, with their CRCs. In pages that are made when the first of their blocks comes: what
/// a client says of the size of its shard takes no memory. Threads may add different blocks at once.
class arrived_blocks {
public:
  void add(std::uint64_t first, std::span<const std::uint32_t> crcs);
  /// The first of `count` blocks that has not come, or `count`.
  [[nodiscard]] std::uint64_t first_gap(std::uint64_t count) const;
  /// Of `count` blocks, which have all come.
  [[nodiscard]] std::vector<std::uint32_t> crcs(std::uint64_t count) const;

private:
  static constexpr std::uint64_t page_blocks = 1024;
  struct page {
    std::bitset<page_blocks> there;
    std::array<std::uint32_t, page_blocks> crcs{};
  };

  mutable std::mutex mutex_;
  std::map<std::uint64_t, page> pages_;
};

/// Made by file_store::begin_put, and to be destroyed before the store.
class put_in_progress {
public:
  put_in_progress(const put_in_progress&) = delete;
  put_in_progress& operator=(const put_in_progress&) = delete;
  ~put_in_progress();

  /// The store has this version already. write() then compares instead of writing, and compare() alone will do.
  [[nodiscard]] bool already_there() const noexcept { return already_there_; }

  /// Takes whole blocks (the last of the shard as long as it is) with the CRC32C that the client claims for each.
  /// Errors: checksum_mismatch naming the block, whose bytes were not written; invalid_argument for a range that is not
  /// of blocks; conflict with the version that is there; no_space, io_error and the like.
  [[nodiscard]] result<void> write(std::uint64_t offset, std::span<const std::byte> bytes,
                                   std::span<const std::uint32_t> block_crcs);

  /// Compares CRCs from `first_block` on with those of the version that is there. Errors: conflict.
  [[nodiscard]] result<void> compare(std::uint64_t first_block, std::span<const std::uint32_t> block_crcs);

  /// Once, after every write() has returned: makes the shard durable, then visible. When this fails after the new
  /// version has become visible, it is whole but may be lost with the machine; a repeat settles it. Errors:
  /// invalid_argument while blocks are missing; conflict; no_space, io_error and the like.
  [[nodiscard]] result<void> commit();

private:
  friend class file_store;
  /// To write a new version into `data`, which has the path `temporary` until it is published.
  put_in_progress(file_store& store, manifest planned, file data, std::string temporary);
  /// To compare with a version that is there.
  put_in_progress(file_store& store, manifest stored);

  [[nodiscard]] result<void> check_range(std::uint64_t offset, std::uint64_t length, std::uint64_t crcs) const;
  [[nodiscard]] result<void> check_bytes(std::uint64_t first_block, std::span<const std::byte> bytes,
                                         std::span<const std::uint32_t> block_crcs) const;

  file_store& store_;
  const bool already_there_;
  bool committed_ = false;
  manifest manifest_; ///< of a new version without its CRCs until commit()
  std::string subject_;
  arrived_blocks arrived_;
  std::string temporary_;
  file data_;
};

} // namespace weft
