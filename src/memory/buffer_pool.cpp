#include "memory/buffer_pool.hpp"

#include <algorithm>
#include <numeric>

namespace weft::memory {
namespace {

std::size_t blocks_for(std::uint64_t bytes) noexcept {
  return static_cast<std::size_t>((bytes + buffer_pool::block_size - 1) / buffer_pool::block_size);
}

} // namespace

std::uint64_t buffer_pool::size_for(std::uint64_t bytes) noexcept {
  return std::max(blocks_for(bytes), std::size_t{4}) * block_size;
}

buffer_pool::buffer_pool(std::shared_ptr<const registration> memory)
    : memory_(std::move(memory)), bytes_(memory_->bytes) {
  // Lent from the back: the same few blocks are used again and stay in the cache.
  free_.resize(bytes_.size() / block_size);
  std::iota(free_.rbegin(), free_.rend(), 0U);
}

std::uint64_t buffer_pool::most() const noexcept {
  return bytes_.size() / block_size / 2 * block_size; // of an odd number of blocks half is rounded down
}

/// Within the share of its borrower.
bool buffer_pool::may_have(const void* borrower, std::size_t blocks) const {
  const auto found = lent_.find(borrower);
  return (found == lent_.end() ? 0 : found->second) + blocks <= bytes_.size() / block_size / 2;
}

std::shared_ptr<buffer_pool::lease> buffer_pool::take(const void* borrower, std::size_t blocks) {
  lent_[borrower] += blocks;
  std::vector<std::uint32_t> taken(free_.end() - static_cast<std::ptrdiff_t>(blocks), free_.end());
  free_.resize(free_.size() - blocks);
  return std::make_shared<lease>(shared_from_this(), borrower, std::move(taken));
}

void buffer_pool::acquire(const void* borrower, std::uint64_t bytes, granted then) {
  const auto blocks = blocks_for(bytes);
  std::shared_ptr<lease> lent;
  {
    const std::lock_guard lock(mutex_);
    // One that waits for its own share keeps nobody else; one for whom the pool has not enough left comes first.
    const bool behind = std::any_of(waiting_.begin(), waiting_.end(), [&](const waiter& other) {
      return other.borrower == borrower || may_have(other.borrower, other.blocks);
    });
    if (behind || free_.size() < blocks || !may_have(borrower, blocks)) {
      waiting_.push_back({borrower, blocks, std::move(then)});
      return;
    }
    lent = take(borrower, blocks);
  }
  then(std::move(lent));
}

/// One call serves all who wait, as long as there is room: what they return meanwhile, inside it or on other threads,
/// it sees in its next turn. Else each of a long queue that returns its memory at once would serve the next one from
/// inside its own call, and the stack would end before the queue.
void buffer_pool::put_back(const void* borrower, const std::vector<std::uint32_t>& blocks) {
  std::unique_lock lock(mutex_);
  free_.insert(free_.end(), blocks.begin(), blocks.end());
  const auto found = lent_.find(borrower);
  if ((found->second -= blocks.size()) == 0) lent_.erase(found);
  if (serving_) return;
  serving_ = true;
  for (auto served = next_served(); !served.empty(); served = next_served()) {
    lock.unlock();
    for (auto& [then, lent] : served) then(std::move(lent));
    served.clear();
    lock.lock();
  }
  serving_ = false;
}

std::vector<std::pair<buffer_pool::granted, std::shared_ptr<buffer_pool::lease>>> buffer_pool::next_served() {
  std::vector<std::pair<granted, std::shared_ptr<lease>>> served;
  std::vector<const void*> held_up; // by their own share: nothing of theirs overtakes what waits for it
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    if (std::find(held_up.begin(), held_up.end(), at->borrower) != held_up.end()) {
      ++at;
      continue;
    }
    if (!may_have(at->borrower, at->blocks)) {
      held_up.push_back(at->borrower);
      continue;
    }
    if (free_.size() < at->blocks) break; // else small wishes would take for ever what a large one waits for
    auto lent = take(at->borrower, at->blocks);
    served.emplace_back(std::move(at->then), std::move(lent));
    at = waiting_.erase(at);
  }
  return served;
}

std::span<std::byte> buffer_pool::lease::block(std::size_t index) const noexcept {
  return from_->bytes_.subspan(std::size_t{blocks_[index]} * block_size, block_size);
}

piece_list buffer_pool::lease::pieces(std::uint64_t offset, std::uint64_t length) const {
  piece_list list;
  list.reserve(blocks_.size());
  for (std::size_t i = offset / block_size; length > 0; ++i) {
    const auto skip = offset % block_size;
    const auto part = std::min(length, block_size - skip);
    list.add(block(i).subspan(skip, part), from_->memory_.get());
    offset += part;
    length -= part;
  }
  return list;
}

} // namespace weft::memory
