// Checks all blocks of a store in the background, over and over, at a bounded rate: rot is found while another replica
// is still there. One thread of its own; the object belongs to the server of the store.
#pragma once

#include "base/clock.hpp"
#include "shard/file_store.hpp"

#include "weft/shard_server.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace weft::shards {

class scrubber {
public:
  /// `told` is called on the scrubber's thread for each block that is bad, in every pass. `pause` precedes each pass,
  /// so that an empty store costs nothing. `store` must outlive this.
  scrubber(const file_store& store, bytes_per_second rate, std::function<void(const stored_fault&)> told,
           duration pause = std::chrono::seconds(1));
  /// Stops behind the block that is being read.
  ~scrubber();
  scrubber(const scrubber&) = delete;
  scrubber& operator=(const scrubber&) = delete;

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::uint64_t passes() const noexcept { return passes_; }

private:
  void run();
  void check_store();
  void check_shard(const shard_info& entry);
  void check_blocks(const open_shard& shard);
  void report(const std::string& shard, const id128& version, std::uint64_t block, const error& what);
  [[nodiscard]] bool wait_until(time_point due);

  const file_store& store_;
  const bytes_per_second rate_;
  const std::function<void(const stored_fault&)> told_;
  const duration pause_;
  std::vector<std::byte> memory_; ///< of a block, and what aligns it
  time_point due_{};              ///< when the next block may be read
  std::atomic<std::uint64_t> bytes_ = 0;
  std::atomic<std::uint64_t> passes_ = 0;
  std::mutex mutex_; ///< guards stopping_
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_; ///< last: it uses the rest
};

} // namespace weft::shards
