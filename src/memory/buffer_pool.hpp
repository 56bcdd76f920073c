// Registered memory that the library lends to itself, in blocks: a bounded total, a bounded part for each borrower, and
// a queue for who must wait. Any thread may acquire; a lease is returned by its destructor on any thread.
#pragma once

#include "memory/pieces.hpp"
#include "memory/registration.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace weft::memory {

class buffer_pool final : public std::enable_shared_from_this<buffer_pool> {
public:
  static constexpr std::uint64_t block_size = 256 * 1024;

  /// Memory on loan.
  class lease {
  public:
    lease(std::shared_ptr<buffer_pool> from, const void* borrower, std::vector<std::uint32_t> blocks)
        : from_(std::move(from)), borrower_(borrower), blocks_(std::move(blocks)) {}
    ~lease() { from_->put_back(borrower_, blocks_); }
    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;

    /// Block `index` of the lease.
    [[nodiscard]] std::span<std::byte> block(std::size_t index) const noexcept;
    /// `length` bytes from `offset` on; the caller adds what keeps the lease.
    [[nodiscard]] piece_list pieces(std::uint64_t offset, std::uint64_t length) const;

  private:
    std::shared_ptr<buffer_pool> from_;
    const void* borrower_;
    std::vector<std::uint32_t> blocks_;
  };

  using granted = std::function<void(std::shared_ptr<lease>)>;

  /// Lends `memory`, in whole blocks: what is left over is not used.
  explicit buffer_pool(std::shared_ptr<const registration> memory);

  /// How much memory a pool of `bytes` needs: whole blocks, and at least four.
  [[nodiscard]] static std::uint64_t size_for(std::uint64_t bytes) noexcept;

  /// The most that one acquire may ask for.
  [[nodiscard]] std::uint64_t most() const noexcept;

  /// Calls `then` with memory for `bytes`: inside the call, or later on the thread that returns some. `borrower` names
  /// whom the memory counts for: one never has more than half of the pool. In order of the calls, but that a borrower
  /// who waits for his own share keeps nobody else waiting.
  void acquire(const void* borrower, std::uint64_t bytes, granted then);

private:
  struct waiter {
    const void* borrower;
    std::size_t blocks;
    granted then;
  };

  void put_back(const void* borrower, const std::vector<std::uint32_t>& blocks);
  [[nodiscard]] std::vector<std::pair<granted, std::shared_ptr<lease>>> next_served();
  [[nodiscard]] bool may_have(const void* borrower, std::size_t blocks) const;
  [[nodiscard]] std::shared_ptr<lease> take(const void* borrower, std::size_t blocks);

  std::shared_ptr<const registration> memory_;
  std::span<std::byte> bytes_; ///< of it
  std::mutex mutex_;
  std::vector<std::uint32_t> free_;
  std::unordered_map<const void*, std::size_t> lent_; ///< blocks, by borrower
  std::deque<waiter> waiting_;
  bool serving_ = false; ///< some call of put_back is at it
};

} // namespace weft::memory
