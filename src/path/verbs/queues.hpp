// What the channels of one lane share on one rail and thread: a completion queue, a shared receive queue of small
// slots, send slots, and the credits that keep the peers within the receive queue. Used on that thread, but for
// reserve() and release(), which the thread that sets up connections calls too.
#pragma once

#include "base/tunables.hpp"
#include "path/event_source.hpp"
#include "path/verbs/rail.hpp"

#include "weft/lane.hpp"

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_map>

namespace weft::path::verbs {

class channel;

class queues final : public event_source, public std::enable_shared_from_this<queues> {
public:
  /// Bytes of a slot, in both directions: a longer message is cut.
  static constexpr std::size_t slot_size = 4096;
  /// Credits that every peer has: two messages, and one to return credits with, which is never used for anything else.
  static constexpr std::uint32_t least_credits = 3;

  /// Errors: out_of_memory, os_failure, naming the rail.
  static result<std::shared_ptr<queues>> open(const rail& on, boost::asio::any_io_executor thread,
                                              const tunables& limits);
  ~queues() override;

  [[nodiscard]] const rail& on() const noexcept { return rail_; }
  [[nodiscard]] ibv_cq* completions() const noexcept { return completions_.get(); }
  [[nodiscard]] ibv_srq* receives() const noexcept { return receives_.get(); }

  /// Keeps room in the completion queue for `sends` requests of one queue pair, and receive slots for the credits that
  /// a new peer has. False: there is none left. From any thread.
  [[nodiscard]] bool reserve(std::uint32_t sends);
  /// Gives the room back, and the `credits` that its peer had not used.
  void release(std::uint32_t sends, std::uint32_t credits);
  /// Up to `wanted` more credits for a peer, as there are slots. From any thread.
  [[nodiscard]] std::uint32_t lend(std::uint32_t wanted, std::uint32_t kept = 0) noexcept;
  void give_back(std::uint32_t credits) noexcept { credits_ += credits; }
  /// The same, of that half of the slots alone which is not kept for peers that come later.
  [[nodiscard]] std::uint32_t lend_spare(std::uint32_t wanted) noexcept { return lend(wanted, slots_ / 2); }
  /// How many credits each channel may hold when all hold as many.
  [[nodiscard]] std::uint32_t fair_share() const noexcept;

  void add(std::uint32_t pair, channel& to);
  /// The device does not work: no room is kept here any more, and what is here goes elsewhere. From any thread.
  void break_down(const std::string& why);
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  void remove(std::uint32_t pair) { channels_.erase(pair); }

  /// A registered slot for a message that leaves. Null when all are on their way, or when one that has `held` has its
  /// part of them.
  [[nodiscard]] std::byte* take_send_slot(std::size_t held) noexcept;
  /// `starved` got no slot: it is woken, once, when there are some.
  void wake_later(std::weak_ptr<channel> starved) { starved_.push_back(std::move(starved)); }
  void return_send_slot(std::byte* slot) { free_send_slots_.push_back(slot); }
  void wake_starved();
  [[nodiscard]] std::uint32_t send_key() const noexcept { return send_memory_->lkey; }

  /// Reads for a channel that is `behind`, until it is so no more or has read what there was by now: that is among as
  /// many completions as the queue holds, and others may fill it without a pause.
  template <class Condition>
  void catch_up(const Condition& behind) {
    for (auto left = fetched_count_ + capacity(); left > 0 && behind() && fetch();) {
      left -= std::min(left, fetched_count_);
      deliver();
    }
  }

  // event_source
  [[nodiscard]] bool fetch() override;
  void deliver() override;
  [[nodiscard]] bool arm() override;

private:
  static constexpr std::size_t most_at_once = 64; ///< completions

  queues(const rail& on, boost::asio::any_io_executor thread);
  [[nodiscard]] result<void> create(const tunables& limits);
  [[nodiscard]] std::size_t capacity();
  void post_receives();
  void wait_for_event();

  const rail& rail_;
  const calls& by_;
  boost::asio::posix::stream_descriptor wake_;
  std::vector<std::byte> memory_; ///< of the slots: those for receiving, then those for sending
  memory_region receive_memory_;
  memory_region send_memory_;
  completion_channel events_;
  completion_queue completions_;
  receive_queue receives_;
  std::vector<std::byte*> free_send_slots_;
  std::size_t send_slots_ = 0;
  std::vector<std::weak_ptr<channel>> starved_;          ///< wait for send slots
  std::unordered_map<std::uint32_t, channel*> channels_; ///< by the number of their queue pair
  std::array<ibv_wc, most_at_once> fetched_;
  std::size_t fetched_count_ = 0;
  std::vector<std::uint32_t> used_; ///< receive slots to be posted again
  bool armed_ = false;
  std::atomic<bool> broken_ = false; ///< the device refuses what it must not: no room is kept for more channels
  std::string why_broken_;           ///< once the channels have been told

  std::uint32_t slots_ = 0;                ///< for receiving, that peers may use
  std::atomic<std::uint32_t> credits_ = 0; ///< receive slots that no peer may use
  std::atomic<std::uint32_t> pairs_ = 0;
  std::mutex mutex_;           ///< guards what follows
  std::uint32_t capacity_ = 0; ///< entries of the completion queue
  std::uint32_t reserved_ = 0; ///< of them
};

} // namespace weft::path::verbs
