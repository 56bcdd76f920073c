// A put of one peer as its server keeps it, and which blocks of it are being worked on: each chunk or comparison has
// its blocks to itself, and a commit sees whether any is under way. Any thread may call.
#pragma once

#include "shard/put_in_progress.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace weft::fabrics {
class link_core;
}

namespace weft::shards {

/// Blocks [first, end) of a shard. Peers choose the numbers: what lies outside the shard, or wraps around, is refused
/// by the put itself before anything is touched.
struct block_span {
  std::uint64_t first = 0;
  std::uint64_t end = 0;

  [[nodiscard]] bool overlaps(const block_span& other) const noexcept { return first < other.end && other.first < end; }
  friend bool operator==(const block_span&, const block_span&) = default;
};

/// The blocks of one put that are claimed now.
class block_claims {
public:
  /// False, and nothing is claimed, when some of them are already.
  [[nodiscard]] bool add(const block_span& wanted) {
    const std::lock_guard lock(mutex_);
    const bool taken =
        std::any_of(claimed_.begin(), claimed_.end(), [&](const block_span& other) { return other.overlaps(wanted); });
    if (!taken) claimed_.push_back(wanted);
    return !taken;
  }
  void remove(const block_span& landed) {
    const std::lock_guard lock(mutex_);
    claimed_.erase(std::find(claimed_.begin(), claimed_.end(), landed));
  }
  [[nodiscard]] bool empty() const {
    const std::lock_guard lock(mutex_);
    return claimed_.empty();
  }

private:
  mutable std::mutex mutex_;
  std::vector<block_span> claimed_; ///< few: the chunks that one put has under way
};

/// Others than its peer cannot name it. Listed when its command arrives, so that one behind it on the link finds it
/// whatever the disk does first. Its list holds it, and work on the disk while it runs: nothing else may, as its end
/// removes files of the store.
struct open_put {
  std::unique_ptr<put_in_progress> put; ///< set before `ready`, then constant
  std::atomic<bool> ready = false;
  std::shared_ptr<const fabrics::link_core> owner; ///< kept, so that no other link gets its address
  const std::shared_ptr<block_claims> claims = std::make_shared<block_claims>();
};

/// The blocks that one chunk or comparison works on, claimed until landed(), or until it is given up. What is called
/// back may keep this for longer than the claim may last: the answer is what allows the peer to commit.
class claimed_blocks {
public:
  /// Null when some of them are claimed already.
  [[nodiscard]] static std::shared_ptr<claimed_blocks> claim(const std::shared_ptr<open_put>& of,
                                                             const block_span& blocks) {
    return of->claims->add(blocks) ? std::make_shared<claimed_blocks>(of, blocks) : nullptr;
  }
  /// Takes over what was added to the put's claims.
  claimed_blocks(const std::shared_ptr<open_put>& of, const block_span& blocks)
      : of_(of), claims_(of->claims), blocks_(blocks) {}
  claimed_blocks(const claimed_blocks&) = delete;
  claimed_blocks& operator=(const claimed_blocks&) = delete;
  ~claimed_blocks() { landed(); }

  void landed() {
    if (std::exchange(claimed_, false)) claims_->remove(blocks_);
  }
  /// For work on the disk. Null when the put has been committed, abandoned or dropped meanwhile.
  [[nodiscard]] std::shared_ptr<open_put> put() const noexcept { return of_.lock(); }

private:
  std::weak_ptr<open_put> of_;
  std::shared_ptr<block_claims> claims_;
  const block_span blocks_;
  bool claimed_ = true;
};

} // namespace weft::shards
