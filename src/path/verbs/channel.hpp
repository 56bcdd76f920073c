// A channel over one RC queue pair. A slice is RDMA WRITEs into the memory that its grant names, and its record
// follows in a SEND on the same queue pair, which keeps the order; records and messages that leave together share
// SENDs. What the sends carry is one stream of frames, cut into slots. Requests are counted against the send queue, and
// messages against the credits that the peer gave, so that no queue of either end can overflow. Used on the thread of
// its lane.
#pragma once

#include "base/clock.hpp"
#include "path/channel.hpp"
#include "path/driver.hpp"
#include "path/verbs/queues.hpp"

#include "weft/error.hpp"
#include "weft/id.hpp"

#include <boost/asio/steady_timer.hpp>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::path::verbs {

/// What the two ends tell each other while they connect; everything else goes over the session.
struct greeting {
  id128 session;
  wire::place at;
  bool probes = false;   ///< no channel: it only tries the way (weft doctor)
  std::uint8_t rail = 0; ///< of the end that says it
  std::uint32_t epoch = 0;
  std::uint16_t credits = queues::least_credits;

  friend bool operator==(const greeting&, const greeting&) = default;
};

/// A queue pair with its connection, set up by connect.hpp and owned by the channel. Destroyed on the thread that sets
/// up connections.
struct endpoint {
  enum class event : std::uint8_t { established, lost, last_request_reached };

  // In this order: a queue pair goes before its connection, and its queues behind both.
  std::shared_ptr<queues> shared;
  connection_id id;
  queue_pair pair;
  std::uint32_t send_depth = 0;   ///< requests that the send queue holds
  std::uint32_t inline_bytes = 0; ///< what the device copies when a request is posted
  std::uint32_t most_parts = 1;   ///< pieces of memory in a request
  std::size_t peer_rail = 0;      ///< which of the keys in a grant it needs
  std::uint32_t peer_credits = 0; ///< messages that the peer takes at the beginning
  std::string peer_address;
  std::uint8_t gid_index = 0; ///< of the rail's GID that its packets come from
  bool accepted = false;      ///< by this end, with `answer`
  greeting answer;
  /// Called on the thread that sets up connections; set before it can be.
  std::function<void(event happened, const std::string& why)> on_event;
};

class channel final : public path::channel, public std::enable_shared_from_this<channel> {
public:
  /// Gives an endpoint back: destroys it, then calls `done` on the channel's thread.
  using disposer = std::function<void(std::unique_ptr<endpoint> used, std::function<void()> done)>;

  channel(std::unique_ptr<endpoint> connected, boost::asio::any_io_executor thread, wire::place at, std::uint32_t epoch,
          listener& events, driver& owner, disposer dispose, const tunables& limits);
  ~channel() override;

  /// Its queues are of no use any more. On its thread, outside a batch.
  void device_failed(const std::string& why);
  /// Events of the endpoint come here, and what arrives; nothing is sent yet.
  void attach();
  /// The connection is up: sends what was posted.
  void start();
  [[nodiscard]] bool close() override;

  [[nodiscard]] capabilities can() const noexcept override {
    return {.one_sided = true, .needs_grant = true, .key = peer_rail_};
  }
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return epoch_; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte> body) override;
  [[nodiscard]] bool takes_slices() const noexcept override;
  void post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                  const memory::granted_list& granted) override;
  void flush() override;

  // From the queues.
  /// There are send slots again.
  void wake();
  void completed(const ibv_wc& completion);
  void arrived(std::span<const std::byte> bytes, const ibv_wc& completion);
  /// A receive of this queue pair failed.
  void failed(const ibv_wc& completion);

private:
  enum class state : std::uint8_t {
    opening, ///< attached, but the connection is not up yet
    open,
    fencing, ///< the queue pair is in ERR: until all its requests are flushed and its last receive is known
    closed,
  };
  static constexpr std::size_t most_slices = 64; ///< a power of two
  static constexpr std::size_t most_batched = 32;

  /// Or a part of one.
  struct outgoing_slice {
    const memory::piece_list* pieces = nullptr;
    const memory::granted_list* granted = nullptr;
    std::uint64_t offset = 0; ///< of what is not posted yet
    std::uint64_t left = 0;   ///< of it
    std::uint64_t length = 0;
    std::uint64_t transfer = 0;
    std::uint64_t record_at = 0;    ///< where its record, if it is the last part, stands in the stream
    std::uint64_t last_request = 0; ///< number of its last WRITE
    bool tells = false;             ///< of its end
  };
  /// A send slot that the device reads.
  struct slot_in_use {
    std::byte* slot = nullptr;
    std::uint64_t request = 0;
  };

  /// For what was posted, or waited for: `work` in a batch, unless the channel is closed. Its owner may be gone then:
  /// what a thread posts to itself may run behind what others post to it later.
  template <class Work>
  void in_batch(const Work& work);
  void watch(unsigned looks = 0);
  void judge(std::uint64_t before, unsigned looks);
  void probe();
  void happened(endpoint::event what, const std::string& why);
  void fail(errc code, std::string why);
  [[nodiscard]] std::string describe(const ibv_wc& completion) const;
  void begin_fence();
  void end_soon();
  void try_end_fence();
  void end_fence();

  [[nodiscard]] std::uint64_t room() const noexcept { return endpoint_->send_depth - (posted_ - completed_); }
  [[nodiscard]] outgoing_slice& slice(std::size_t number) noexcept { return slices_[number & (most_slices - 1)]; }
  void write_slices();
  void write_some(outgoing_slice& of);
  void send_stream();
  [[nodiscard]] bool send(std::span<const std::byte> bytes);
  ibv_send_wr& next_request();
  void signal(ibv_send_wr& request) noexcept;
  void post_batch();
  void retire(std::uint64_t request);
  void parse(std::span<const std::byte> bytes);
  [[nodiscard]] std::size_t parse_frames(std::span<const std::byte> bytes);
  void renew_credits();
  [[nodiscard]] bool owes_credits() const noexcept;
  [[nodiscard]] bool may_take_slices() const noexcept;
  void tell_writable();
  void drain_and_end();

  std::unique_ptr<endpoint> endpoint_;
  const std::shared_ptr<queues> queues_;
  const calls& by_;
  const std::size_t peer_rail_;
  const wire::place place_;
  const std::uint32_t epoch_;
  listener& events_;
  driver& driver_;
  const disposer dispose_;
  const duration fence_limit_;
  const duration silence_limit_;
  state state_ = state::opening;
  bool attached_ = false;
  bool proven_ = false; ///< something has arrived

  // Requests, numbered from 1.
  std::uint64_t posted_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t signalled_ = 0; ///< the last that reports its end
  bool watched_ = false;        ///< a wait of watch() is under way
  bool stuck_ = false;          ///< the device took no more: nothing may go out of order behind what it did not take
  std::array<ibv_send_wr, most_batched> batch_;
  std::vector<ibv_sge> parts_; ///< of the batch
  std::size_t batched_ = 0;
  bool batch_reads_ = false; ///< the device reads memory for it, until it reports its end

  // Slices, numbered in their order.
  std::array<outgoing_slice, most_slices> slices_;
  std::size_t first_slice_ = 0; ///< the first whose memory is still read
  std::size_t next_write_ = 0;  ///< the first that is not all posted
  std::size_t end_slice_ = 0;
  std::uint64_t slice_bytes_ = 0;
  std::uint64_t landed_ = 0; ///< of those that tell

  // The stream of frames: staged_[0] is its byte number stream_at_.
  std::vector<std::byte> staged_;
  std::uint64_t stream_at_ = 0;
  std::size_t staged_sent_ = 0;
  std::vector<slot_in_use> slots_; ///< a ring
  std::size_t first_slot_ = 0;
  std::size_t slot_count_ = 0;
  bool starved_ = false;         ///< waits for the queues to wake it
  mutable bool refused_ = false; ///< writable() is owed

  // Credits, counted in messages since the beginning.
  std::uint32_t sent_ = 0;
  std::uint32_t may_send_ = 0; ///< what the peer allowed in all
  std::uint32_t came_ = 0;
  std::uint32_t allowed_ = 0; ///< what the peer was told
  std::uint32_t owned_ = 0;   ///< receive slots kept for this peer
  std::uint32_t fresh_ = 0;   ///< messages with contents that came since it was told last

  std::vector<std::byte> assembly_; ///< the beginning of a frame whose end has not arrived

  // The fence.
  std::uint64_t last_flushed_ = 0; ///< the request whose completion says that all are flushed; 0: none was posted
  bool flushed_ = false;
  bool last_receive_known_ = false;
  boost::asio::steady_timer timer_; ///< of that, and before it of the watch
};

template <class Work>
void channel::in_batch(const Work& work) {
  if (state_ == state::closed) return;
  driver_.batch_begins();
  work();
  driver_.batch_ends();
}

} // namespace weft::path::verbs
