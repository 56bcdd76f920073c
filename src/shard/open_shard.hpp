// One version of a shard, ready to be read: its manifest and the descriptor of its data. It stays readable when a put
// replaces the shard. Immutable: any thread may read, without a lock.
#pragma once

#include <weft/error.hpp>

#include "shard/file.hpp"
#include "shard/manifest.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

class open_shard {
public:
  open_shard(weft::manifest stored, file data);

  /// Fills `into` from `offset` on. The bytes are as the disk has them: who delivers them checks them against the
  /// manifest. Errors: invalid_argument outside the shard, io_error and the like, naming shard and offset.
  [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> into) const;

  /// Reads one block into `memory`, of block_size bytes (aligned to 4096 if the shard was opened past the page cache),
  /// and compares it with the manifest. Errors: checksum_mismatch; as read().
  [[nodiscard]] result<void> check_block(std::uint64_t block, std::span<std::byte> memory) const;

  [[nodiscard]] const weft::manifest& manifest() const noexcept { return manifest_; }

private:
  weft::manifest manifest_;
  std::string subject_;
  file data_;
};

/// A check of every block of a shard, some at a time. One thread at a time.
class verification {
public:
  explicit verification(std::shared_ptr<const open_shard> shard);

  /// Reads and checks `most` blocks more; whether any are left.
  bool check(std::uint64_t most);

  [[nodiscard]] const manifest& of() const noexcept { return shard_->manifest(); }
  [[nodiscard]] std::uint64_t blocks() const noexcept { return block_count(of().size); }
  /// Of those checked so far, what cannot be read or differs from the manifest.
  [[nodiscard]] std::vector<std::uint64_t>& bad() noexcept { return bad_; }
  /// "shard a: 2 of 4 blocks were checked"
  [[nodiscard]] std::string progress() const;

private:
  std::shared_ptr<const open_shard> shard_;
  std::uint64_t next_ = 0;
  std::vector<std::uint64_t> bad_;
};

/// The shards used last, at most `most`, so that a popular one is not opened anew for every request. A descriptor is
/// closed when the shard has left here and its last reader is done. Its owner serialises the calls.
/// What leaves is returned: to close the last descriptor of a removed file may take long, so not under a lock.
class recently_open {
public:
  explicit recently_open(std::size_t most) : most_(most) {}

  [[nodiscard]] std::shared_ptr<open_shard> find(std::string_view name);
  [[nodiscard]] std::shared_ptr<open_shard> insert(std::shared_ptr<open_shard> shard);
  [[nodiscard]] std::shared_ptr<open_shard> erase(std::string_view name);

private:
  std::size_t most_;
  /// The most recent one last. Few enough for a linear search to be cheaper than an index.
  std::vector<std::shared_ptr<open_shard>> shards_;
};

} // namespace weft
