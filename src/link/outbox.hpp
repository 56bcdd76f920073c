// The numbered messages of one engine: kept from push until the peer acknowledged them, posted in order, posted again
// from the first unacknowledged one when their channel is lost. All of an engine's messages travel on one channel at a
// time, and its successor begins only after the fence: what arrived is always a prefix, so a cumulative
// acknowledgement says everything.
#pragma once

#include "wire/frame.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

namespace weft::links {

class outbox {
public:
  struct message {
    wire::frame_header header;
    std::vector<std::byte> body;
  };

  explicit outbox(std::uint32_t window) : window_(window) {}

  /// Appends a message and returns it with its number set and an empty body, to be filled in at once.
  message& push(wire::frame_type type, std::uint64_t transfer) {
    if (spare_.empty()) {
      messages_.emplace_back();
    } else {
      messages_.push_back(std::move(spare_.back()));
      spare_.pop_back();
    }
    auto& added = messages_.back();
    added.header = {.type = type, .number = next_number_++, .transfer = transfer};
    added.body.clear();
    return added;
  }

  /// The next one to post, or null when all are posted or the window is full.
  [[nodiscard]] message* next() noexcept {
    return posted_ < messages_.size() && posted_ < window_ ? &messages_[posted_] : nullptr;
  }
  void posted() noexcept { sent_ = std::max(sent_, ++posted_); }

  /// Frees everything up to `number`. False: the peer acknowledges what it was never sent.
  [[nodiscard]] bool acknowledge(std::uint32_t number) {
    const auto first = next_number_ - static_cast<std::uint32_t>(messages_.size());
    const auto count = number - first + 1; // wraps: 0 when nothing is new
    if (count == 0 || count > 0x80000000) return true;
    if (count > sent_) return false;
    for (std::uint32_t i = 0; i < count; ++i) {
      if (spare_.size() < most_spare) spare_.push_back(std::move(messages_.front()));
      messages_.pop_front();
    }
    // After rewind() the peer may acknowledge on the new channel what the old one had brought it.
    posted_ -= std::min<std::size_t>(posted_, count);
    sent_ -= count;
    return true;
  }

  /// The channel was lost: everything unacknowledged is to be posted again.
  void rewind() noexcept { posted_ = 0; }

  [[nodiscard]] bool empty() const noexcept { return messages_.empty(); }
  /// How many the peer has not acknowledged, posted or not.
  [[nodiscard]] std::size_t size() const noexcept { return messages_.size(); }

private:
  static constexpr std::size_t most_spare = 64;

  std::deque<message> messages_;
  std::vector<message> spare_; ///< their capacity is reused
  std::size_t posted_ = 0;     ///< of messages_, from the front
  std::size_t sent_ = 0;       ///< of messages_, those that any channel was ever given
  std::uint32_t next_number_ = 1;
  std::uint32_t window_;
};

} // namespace weft::links
