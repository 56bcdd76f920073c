// Serves the shards of a folder to the peers of a fabric: what `weft serve` runs, for a trainer or cache to embed.
#pragma once

#include <weft/fabric.hpp>
#include <weft/id.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace weft {

namespace shards {
class server_core;
}

/// Counters of a server at one moment.
struct shard_server_metrics {
  std::uint64_t shards = 0; ///< in the store now
  std::uint64_t bytes_served = 0;
  std::uint64_t bytes_stored = 0;
  std::uint64_t puts_committed = 0;
  std::uint64_t shards_removed = 0;
  std::uint64_t bad_blocks = 0; ///< found by checks of any kind
  std::uint64_t bytes_scrubbed = 0;
  std::uint64_t scrub_passes = 0;
};

/// A block of the store that cannot be read or differs from its checksum.
struct stored_fault {
  std::string shard;
  id128 version;
  std::uint64_t block = 0; ///< of 64 KiB; 0 also where all of the shard cannot be opened
  error_code code;
  std::string where;
};

struct shard_server_options {
  /// Checks all blocks in the background, over and over, reading so much from the disk; none: not at all.
  std::optional<bytes_per_second> scrub = std::nullopt;
  /// Hears of every fault that the check finds, once in each pass, on its thread.
  std::function<void(const stored_fault&)> on_fault = nullptr;
};

/// Lives as long as the object; the fabric must outlive it, and can have one. Thread-safe.
class WEFT_API shard_server {
public:
  /// Opens the folder, makes it a store if it is empty or absent, removes what unfinished puts left, and serves it.
  /// Errors: io_error, read_only, no_space, bad_manifest, invalid_argument (a folder that is something else, or that
  /// another server has open).
  [[nodiscard]] static result<shard_server> open(fabric& on, const std::filesystem::path& folder,
                                                 shard_server_options options = {});

  shard_server(shard_server&&) noexcept;
  shard_server& operator=(shard_server&&) noexcept;
  /// Refuses new operations, waits for the disk and frees the folder, which another server may open at once. Operations
  /// that are sending or receiving go on; what of them needs the store again ends with peer_closed at the peer.
  ~shard_server();

  [[nodiscard]] shard_server_metrics snapshot() const;

private:
  explicit shard_server(std::shared_ptr<shards::server_core> core) noexcept;

  std::shared_ptr<shards::server_core> core_;
};

} // namespace weft
