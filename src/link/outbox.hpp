// The numbered messages of one engine: kept from push until the peer acknowledged them, posted in order, posted again
// from the first unacknowledged one when their channel is lost. All of an engine's messages travel on one channel at a
// time, and its successor begins only after the fence: what arrived is always a prefix, so a cumulative
// acknowledgement says everything.
#pragma once

#include "wire/frame.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace weft::links {

class outbox {
public:
  struct message {
    wire::frame_header header;
    std::vector<std::byte> body;
  };

  explicit outbox(std::uint32_t window) : window_(window) {}

  /// Appends a message and returns it with its number set and an empty body, to be filled in before the next call.
  message& push(wire::frame_type type, std::uint64_t transfer) {
    if (count_ == ring_.size()) grow();
    auto& added = at(count_++);
    added.header = {.type = type, .number = next_number_++, .transfer = transfer};
    added.body.clear();
    return added;
  }

  /// The next one to post, or null when all are posted or the window is full.
  [[nodiscard]] message* next() noexcept { return posted_ < count_ && posted_ < window_ ? &at(posted_) : nullptr; }
  void posted() noexcept { sent_ = std::max(sent_, ++posted_); }

  /// Frees everything up to `number`. False: the peer acknowledges what it was never sent.
  [[nodiscard]] bool acknowledge(std::uint32_t number) {
    const auto first = next_number_ - static_cast<std::uint32_t>(count_);
    const auto count = number - first + 1; // wraps: 0 when nothing is new
    if (count == 0 || count > 0x80000000) return true;
    if (count > sent_) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      // Small bodies keep their memory for the next message in their place.
      if (at(i).body.capacity() > most_kept) at(i).body = {};
    }
    first_ = (first_ + count) & (ring_.size() - 1);
    count_ -= count;
    if (count_ == 0 && ring_.size() > largest_idle) ring_ = {}; // a burst is over
    // After rewind() the peer may acknowledge on the new channel what the old one had brought it.
    posted_ -= std::min<std::size_t>(posted_, count);
    sent_ -= count;
    return true;
  }

  /// The channel was lost: everything unacknowledged is to be posted again.
  void rewind() noexcept { posted_ = 0; }

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// How many the peer has not acknowledged, posted or not.
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

private:
  static constexpr std::size_t smallest_ring = 8;  ///< a power of two, as every size of it
  static constexpr std::size_t largest_idle = 256; ///< of a ring that is kept for the next messages
  static constexpr std::size_t most_kept = 8 * 1024;

  message& at(std::size_t index) noexcept { return ring_[(first_ + index) & (ring_.size() - 1)]; }

  void grow() {
    std::vector<message> larger(std::max(smallest_ring, 2 * ring_.size()));
    for (std::size_t i = 0; i < count_; ++i) larger[i] = std::move(at(i));
    ring_.swap(larger);
    first_ = 0;
  }

  std::vector<message> ring_;
  std::size_t first_ = 0; ///< of ring_, the oldest message
  std::size_t count_ = 0;
  std::size_t posted_ = 0; ///< of the messages, from the oldest on
  std::size_t sent_ = 0;   ///< of the messages, those that any channel was ever given
  std::uint32_t next_number_ = 1;
  std::uint32_t window_;
};

} // namespace weft::links
