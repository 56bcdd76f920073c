// The state machine of a link for one thread's lanes: operations, numbered messages, slices, acknowledgements, fences.
// Without I/O: events and the time go in by calls, actions come out through `host` and `path::channel`. A link has two,
// one for realtime and one for the other lanes. Split by verb over engine_*.cpp.
#pragma once

#include "base/counter.hpp"
#include "base/tunables.hpp"
#include "lane/ingress.hpp"
#include "lane/scheduler.hpp"
#include "link/operation.hpp"
#include "link/outbox.hpp"
#include "path/channel.hpp"
#include "wire/grant.hpp"

#include <array>
#include <deque>
#include <span>
#include <unordered_map>

namespace weft::links {

/// What the caller asks for.
struct operation_request {
  wire::operation_kind kind{};
  std::uint16_t service = 0;
  lane carries = lane::bulk; ///< the lane of the slices
  verify_mode verify = verify_mode::slice;
  std::span<const std::byte> payload = {}; ///< copied during start()
  memory::piece_list pieces = {};
  std::vector<std::uint32_t> slice_crcs = {}; ///< write: the CRC32C of each slice if known, else empty
  time_point deadline = time_point::max();
  bool by_deadline = false; ///< the caller gave it, and it orders the transfer among others of its lane
  duration stall = duration::max();
  bool wait_when_full = true; ///< else queue_full
  bool keep_progress = false; ///< on an error, outcome::verified_slices is filled
};

/// An operation that the peer began, as its handler sees it.
struct incoming {
  operation_id id;
  const wire::request& terms;
  std::span<const std::byte> payload; ///< valid during the call only
  time_point deadline;
};

/// Of one lane, as those of the engine below.
struct lane_counters {
  counter slices_sent;
  counter bytes_sent;      ///< of slices, those sent again too
  counter bytes_delivered; ///< of them, what the peer said that it has verified
  counter bytes_received;  ///< of slices that were verified here
};

/// Counts since the engine began; any thread may read them.
struct engine_counters {
  std::array<lane_counters, lane_count> lanes;
  counter slices_resent;
  counter slices_verified;
  counter slices_refused; ///< failed the check here
  counter slices_dropped; ///< late, repeated, or of an ended transfer: sent to the sink
  counter messages_sent;
  counter messages_repeated; ///< arrived again and were dropped
  counter forced_fences;
  counter collateral;       ///< transfers that resumed because a channel was closed for another's sake
  counter operations_begun; ///< of both ends
  counter operations_ended;
  counter operations_failed;
};

/// The actions of an engine. Called on its thread, from inside its calls.
class host {
public:
  /// Something waits for a channel in this place, and there is none.
  virtual void open_channel(wire::place at) = 0;
  /// Close the channel in this place now: the forced fence. engine::channel_down follows, at once or later.
  virtual void close_channel(wire::place at) = 0;
  /// The peer began an operation. Answer, now or later, with accept_write, supply_read or respond.
  virtual void operation_arrived(const incoming& begun) = 0;
  /// next_due() is sooner than before, though nothing has happened to this engine: its slices had a turn.
  virtual void due_sooner() {}
  /// The peer broke the protocol: close the link, after the present call has returned.
  virtual void protocol_broken(const error& how) = 0;

protected:
  ~host() = default;
};

static_assert(lanes::board_entry::most_rails <= wire::most_rails, "every rail has a number that a peer may hear");

class engine final : public path::listener {
public:
  /// `lanes` are those of this engine, in order; messages travel on the first channel of the first. `dialled`: this end
  /// opened the link.
  engine(host& actions, const tunables& limits, std::span<const lane> lanes, bool dialled);
  ~engine();
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  /// The time of the events that follow.
  void advance(time_point now) noexcept { now_ = now; }

  /// Whether grants name the memory they grant, for channels that need it; settled before anything begins.
  void name_memory(bool named) noexcept { names_memory_ = named; }

  // Operations of this end.
  /// Returns 0 when it has ended already: queue_full, too_large, or the link has. `owner` is completed at the end of
  /// the batch, as always.
  operation_id start(operation_request&& asked, std::unique_ptr<completion> owner);
  /// Ends it with `cancelled` after its fence. An unknown id has ended already.
  void cancel(operation_id id);

  // Answers to the peer's operations. Of one that the peer cancelled meanwhile owner is completed with `cancelled` at
  // once, and a response goes nowhere; it counts as outstanding until one of these is called.
  /// Grants `pieces`, as long as the write. `owner` hears when its data is verified or given up; then respond.
  void accept_write(operation_id id, memory::piece_list pieces, std::unique_ptr<completion> owner);
  /// Sends `pieces`, as long as the read. `crcs`: as operation_request::slice_crcs. `owner` hears when the receiver
  /// has verified them, or that nobody wants them any more.
  void supply_read(operation_id id, memory::piece_list pieces, std::vector<std::uint32_t> crcs,
                   std::unique_ptr<completion> owner);
  /// Ends it. With an error, `where` says what failed. Success of a read is not said but shown by its bytes, and that
  /// of a write only once its data is verified: said at another time it becomes handler_failed.
  void respond(operation_id id, error_code code, std::string_view where, std::span<const std::byte> payload);

  // Channels.
  /// The older channel in its place, if there was one, is down. `rail`: what it goes over, which outlives the engine.
  void channel_up(wire::place at, path::channel& opened, lanes::scheduler& rail);
  /// The channel is closed and fenced at this end: it reads and writes no memory any more.
  void channel_down(wire::place at);
  /// The link is about to end: what still arrives counts no more.
  void stop_listening() noexcept { broken_ = true; }
  /// Ends every operation with `why`, and those that are started afterwards. All channels are down, for ever.
  void fail_all(const error& why);

  // Arrivals.
  void frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) override;
  void slice_began(wire::place at, const wire::frame_header& header) override;
  [[nodiscard]] std::size_t slice_space(wire::place at, std::span<iovec> out) override;
  void slice_grew(wire::place at, std::size_t bytes) override;
  void slice_landed(wire::place at, const wire::frame_header& header) override;
  void sent(wire::place at, std::uint64_t transfer) override;
  void landed(wire::place at, std::uint64_t marks) override;
  void writable(wire::place at) override;

  // Time and batches.
  /// How many channels an end wants for the slices of a lane; the other one may open more.
  [[nodiscard]] static std::size_t channels_of(const tunables& limits, lane on) noexcept;

  /// When tick() must be called at the latest.
  [[nodiscard]] time_point next_due() const noexcept { return std::min(timers_.next(), recheck_at_); }
  void tick();
  /// The end of a batch of events: posts what gathered. The rail's scheduler runs after it, then flush_channels.
  void flush();
  void flush_channels();

  [[nodiscard]] const engine_counters& counters() const noexcept { return counters_; }
  /// None: it is over, or was never known here.
  [[nodiscard]] std::optional<phase> phase_of(operation_id id) const noexcept;

private:
  /// The slice that arrives on a channel, part by part; one at a time.
  struct arrival {
    wire::frame_header header; ///< of its present part
    std::uint32_t before = 0;  ///< bytes of it in earlier parts
    std::uint32_t done = 0;    ///< bytes of the present one
    std::uint32_t crc = 0;     ///< of all that arrived of it
    operation* into = nullptr; ///< whose memory takes the bytes; null: nobody wants them

    [[nodiscard]] bool goes_on_with(const wire::frame_header& part) const noexcept {
      return done > 0 && header.transfer == part.transfer && header.index == part.index &&
             header.offset + done == part.offset;
    }
  };

  /// The slice of which some parts were given to a channel. The others follow there before any other slice.
  struct departure {
    operation* of = nullptr; ///< null: there is none
    std::uint32_t index = 0;
    std::uint32_t done = 0; ///< bytes of it
    std::uint32_t crc = 0;  ///< of these
  };

  struct lane_on_rail;

  /// What comes from the peer on one rail.
  struct arrivals {
    explicit arrivals(lanes::scheduler& by) : rail(by) {}

    lanes::scheduler& rail;
    lanes::ingress::source from_peer;
    std::uint32_t channels = 0;                     ///< that are up on it
    std::optional<lanes::ingress::awaited> awaited; ///< while there are some, and something is to come
  };

  /// A place of a lane and the channel in it.
  struct channel_state {
    explicit channel_state(lanes::destination& peer) noexcept : under_way(peer) {}

    wire::place at;
    path::channel* channel = nullptr;
    path::capabilities can;           ///< of the channel
    lane_on_rail* over = nullptr;     ///< what the channel goes over, or went
    bool wanted = false;              ///< the host was asked for a channel
    bool stranded = false;            ///< slices went to a lost channel that the peer may not have fenced yet
    std::uint32_t stranded_epoch = 0; ///< of that channel
    bool closing = false;             ///< the host was asked to close the channel, channel_down follows
    bool forced = false;              ///< it is being closed for the fence of one transfer
    std::uint32_t last_epoch = 0;     ///< of the newest channel that was up here
    std::uint32_t fenced_there = 0;   ///< the newest epoch that the peer says it has fenced
    std::uint32_t up_there = 0;       ///< the newest epoch that the peer's engine has
    std::uint64_t unverified = 0;     ///< bytes given to it, and not known to be verified
    arrival incoming;
    departure leaving;
    lanes::flight under_way; ///< of its slices
  };

  struct lane_state {
    lane_state(engine& in, lane which) : owner(in), on(which) {}

    engine& owner;
    lane on;
    std::vector<std::unique_ptr<channel_state>> channels; ///< by number, as many as were ever asked for
    std::deque<lane_on_rail> rails;                       ///< that channels of it were ever on
    lanes::turns<sender> round;                           ///< transfers with slices to send
  };

  /// What of a lane goes over one rail.
  struct lane_on_rail final : lanes::flow {
    lane_on_rail(lane_state& whole, arrivals& coming) : of(whole), in(coming), rail(coming.rail) {}
    std::uint64_t send(std::uint64_t quantum) override { return of.owner.send_slices(*this, quantum); }
    /// What a peer wants soon goes before the rest of its own only: else it would take the turns of others by its word.
    [[nodiscard]] time_point wanted_by() const noexcept override {
      const auto* first = of.round.earliest();
      return first != nullptr && first->of.ours ? first->due() : time_point::max();
    }
    /// Whether there is something that may go once a channel takes it.
    [[nodiscard]] bool is_held_up() const noexcept override {
      const auto leaves = [this](const auto& each) { return each->over == this && each->leaving.of != nullptr; };
      return !of.round.empty() || std::any_of(of.channels.begin(), of.channels.end(), leaves);
    }
    /// It may be more to send than before, or be wanted sooner.
    void make_ready() { rail.ready(of.on, *this); }

    lane_state& of;
    arrivals& in;
    lanes::scheduler& rail;
  };

  /// An owner to be completed at the end of the batch.
  struct ended {
    std::unique_ptr<completion> owner;
    outcome result;
  };

  // engine_operations.cpp
  operation* find(operation_id id) noexcept;
  operation& add(operation_id id);
  void begin(operation& op, std::span<const std::byte> payload);
  void begin_waiting();
  [[nodiscard]] static bool is_gone(const operation* op) noexcept;
  void give_up(operation* op, std::unique_ptr<completion> owner);
  bool fits(const operation& op) const noexcept;
  void tell_owner(operation& op);
  void finish(operation& op);
  void renew_used();
  void complete_ended();
  void push_response(operation_id id, error_code code, std::string_view where, std::span<const std::byte> payload,
                     bool data_sent);

  // engine_fence.cpp
  void stop(operation& op, const error& why);
  void post_markers(operation& op);
  [[nodiscard]] static channel_set awaits_markers(const operation& op) noexcept;
  void end_early(operation& op, const error& why);
  void try_finish_stop(operation& op);
  void succeed(operation& op);
  void force_fence(operation& op);
  void close(channel_state& of);
  void forget_in_lane(operation& op);
  void fence_arrived(const wire::frame_header& header);

  // engine_messages.cpp
  outbox::message& push(wire::frame_type type, operation_id id) { return outbox_.push(type, id); }
  void hurry();
  void post_messages();
  [[nodiscard]] bool samples(const channel_state& over) const noexcept;
  [[nodiscard]] bool carries_realtime() const noexcept;
  [[nodiscard]] static bool tells_allowance(wire::frame_type type) noexcept;
  void tell_allowance(wire::frame_header& framed) noexcept;
  void hear_allowance(const wire::frame_header& header);
  void message_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  void request_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  [[nodiscard]] bool acknowledges() const noexcept;
  [[nodiscard]] result<memory::granted_list> decode_grant(std::span<const std::byte> body, std::uint64_t length) const;
  void keep_grant(operation& op, const memory::granted_list& granted) noexcept;
  bool refuse_request(operation_id id, const wire::request& terms, const memory::granted_list& granted);
  void grant_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  void response_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  void progress_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  void cancel_arrived(const wire::frame_header& header);
  void broken(std::string what);

  // engine_send.cpp
  void open_sender(operation& op, memory::piece_list pieces, std::vector<std::uint32_t> crcs, std::uint64_t window);
  void make_ready(operation& op);
  std::uint64_t send_slices(lane_on_rail& on, std::uint64_t quantum);
  lane_on_rail& on_rail(lane_state& of, lanes::scheduler& rail);
  void wake_lanes();
  void watch_allowance(const channel_state& of);
  void came(const channel_state& on, const wire::frame_header& of, std::uint64_t bytes) noexcept;
  std::uint32_t send_part(channel_state& over, departure next, std::uint64_t room);
  void begun_to_leave(channel_state& over, operation& op, std::uint32_t index);
  [[nodiscard]] bool is_leaving(operation& op, std::uint32_t index) noexcept;
  [[nodiscard]] channel_state* carrier_for_slice(const lane_on_rail& on) noexcept;
  void no_longer_unverified(operation& op, std::uint32_t index);
  void slices_verified(operation& op, const wire::slice_range& range);
  void slices_refused(operation& op, const wire::slice_range& range);
  void sender_progressed(operation& op);
  void resend_after_fence(channel_state& of);
  void collect_missing(operation& op, std::uint8_t number);
  [[nodiscard]] bool may_send(const channel_state& over) const noexcept;

  // engine_receive.cpp
  void open_receiver(operation& op, memory::piece_list pieces, std::uint64_t window);
  void close_receiver(operation& op);
  void await(arrivals& on);
  [[nodiscard]] bool limits_peer() noexcept;
  [[nodiscard]] operation* receiving(const wire::frame_header& header) noexcept;
  bool slice_may_come(const channel_state& on, const wire::frame_header& header);
  void check_slice(operation& op, const wire::frame_header& header, std::uint32_t crc);
  void report(operation& op, wire::slice_range range);
  void push_progress(operation& op);
  void receiver_progressed(operation& op);
  void marker_arrived(wire::place at, const wire::frame_header& header);
  [[nodiscard]] static bool plausible(const operation& op, const wire::frame_header& header, std::uint32_t from,
                                      bool whole) noexcept;

  // engine_time.cpp
  void schedule(operation& op);
  void expired(operation& op);
  [[nodiscard]] std::string missing_way(const operation& op);

  [[nodiscard]] lane_counters& counts_of(const operation& op) noexcept {
    return counters_.lanes[static_cast<std::size_t>(op.terms.carries)];
  }
  [[nodiscard]] lane_state* state_of(lane on) noexcept { return by_lane_[static_cast<std::size_t>(on)]; }
  [[nodiscard]] lane_state& state_of(const operation& op) noexcept { return *state_of(op.terms.carries); }
  /// Of a lane of this engine.
  [[nodiscard]] channel_state& channel_of(wire::place at);
  channel_state& message_channel() noexcept { return *lanes_.front().channels.front(); }
  void want_channel(channel_state& of);
  void want_channels(lane_state& on);
  static std::uint32_t crc_of(const memory::piece_list& pieces, std::uint64_t offset, std::uint64_t length,
                              std::uint32_t crc = 0);

  host& host_;
  const tunables& limits_;
  const std::uint64_t id_bit_; ///< set in the ids of operations that the accepting end began
  time_point now_{};
  std::array<lanes::destination, wire::most_rails> peer_rails_; ///< as it numbers them
  bool knows_rails_ = false;                                    ///< it has named one
  time_point recheck_at_ = time_point::max();                   ///< whether what it is allowed still holds something up
  std::deque<arrivals> arrivals_;                               ///< of the rails on which channels ever were
  std::uint32_t receivers_ = 0;                                 ///< operations for which something is to come
  std::vector<channel_state*> up_;                              ///< those with a channel
  std::size_t told_of_ = 0;                                     ///< whose rail the peer is told of next, of these
  std::deque<lane_state> lanes_;
  std::array<lane_state*, lane_count> by_lane_{}; ///< null: of another engine
  using operation_map = std::unordered_map<operation_id, operation>;
  operation_map operations_;
  std::vector<operation_map::node_type> used_;  ///< operations that ended in this batch
  std::vector<operation_map::node_type> spare_; ///< made new, for reuse
  std::deque<operation_id> waiting_;            ///< queued, in order
  std::vector<operation_id> reports_;           ///< receivers whose news is told at the end of the batch
  std::vector<ended> ended_;
  std::vector<ended> spare_ended_; ///< its memory is reused
  timer_heap timers_;
  outbox outbox_;
  std::uint32_t received_ = 0;     ///< the last message that arrived
  std::uint32_t acknowledged_ = 0; ///< what the peer was last told of it
  std::uint64_t next_id_ = 1;
  std::uint32_t ours_begun_ = 0;
  std::uint64_t ours_bytes_ = 0;
  std::uint32_t theirs_begun_ = 0;
  std::uint64_t granted_pieces_ = 0; ///< that are kept, of all operations
  engine_counters counters_;
  time_point sampled_at_{};       ///< realtime: when the message whose arrival is measured left
  std::uint64_t sample_mark_ = 0; ///< its mark; 0: it has arrived
  bool hurried_ = false;          ///< a message of this batch is on its way already
  bool names_memory_ = false;
  std::vector<std::byte> grant_; ///< being put into a request
  bool broken_ = false;
  std::optional<error> over_; ///< fail_all was called: nothing begins any more
};

} // namespace weft::links
