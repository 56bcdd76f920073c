// Serves the shards of a folder to the peers of a fabric: what `weft serve` runs, for a trainer or cache to embed.
#pragma once

#include <weft/fabric.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>

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
  std::uint64_t bad_blocks = 0; ///< found by checks on the way out
};

/// Lives as long as the object; the fabric must outlive it, and can have one. Thread-safe.
class WEFT_API shard_server {
public:
  /// Opens the folder, makes it a store if it is empty or absent, removes what unfinished puts left, and serves it.
  /// Errors: io_error, read_only, no_space, bad_manifest, invalid_argument (a folder that is something else, or that
  /// another server has open).
  [[nodiscard]] static result<shard_server> open(fabric& on, const std::filesystem::path& folder);

  shard_server(shard_server&&) noexcept;
  shard_server& operator=(shard_server&&) noexcept;
  /// Refuses new operations; those under way end with the fabric.
  ~shard_server();

  [[nodiscard]] shard_server_metrics snapshot() const;

private:
  explicit shard_server(std::shared_ptr<shards::server_core> core) noexcept;

  std::shared_ptr<shards::server_core> core_;
};

} // namespace weft
