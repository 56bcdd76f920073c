// Fetches many shards one after the other, as a trainer's loader does: several parts ahead, into registered buffers
// that are used again, striped over the replicas. Lives on one executor.
#pragma once

#include "base/histogram.hpp"

#include <weft/shard_client.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::tools {

struct prefetch_count {
  std::uint64_t parts = 0;
  std::uint64_t bytes = 0; ///< verified
  std::uint64_t moved = 0; ///< chunks that another replica had to give
  bool checked = true;     ///< whether every part was verified slice by slice
  std::chrono::nanoseconds elapsed{0};
  histogram latencies;
  std::uint64_t errors = 0;
  std::string first_error;
};

/// Shared, because its own handlers keep it as well as whoever waits for it.
class shard_prefetch : public std::enable_shared_from_this<shard_prefetch> {
public:
  /// `window` is cut into buffers of `part` bytes, each holding one part of a shard at a time.
  shard_prefetch(shard_client client, std::vector<shard_info> shards, region window, std::uint64_t part,
                 fetch_options options, boost::asio::any_io_executor executor);

  /// Starts; ready when the last part is there. Once only.
  [[nodiscard]] std::future<prefetch_count> run();

private:
  using clock = std::chrono::steady_clock;
  struct part {
    const shard_info* shard;
    std::uint64_t offset;
    std::uint64_t length;
  };

  [[nodiscard]] std::optional<part> next_part();
  void fill(std::uint64_t buffer);
  void complete(std::uint64_t buffer, const part& fetched, clock::time_point sent, error_code code,
                const fetch_result& done);

  shard_client client_;
  std::vector<shard_info> shards_;
  region window_;
  std::uint64_t part_;
  fetch_options options_;
  boost::asio::any_io_executor executor_;
  std::promise<prefetch_count> promise_;
  prefetch_count count_;
  std::size_t shard_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t in_flight_ = 0;
  clock::time_point begin_;
};

} // namespace weft::tools
