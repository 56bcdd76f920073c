// One operation of a link as its engine keeps it, ours or the peer's: a request, perhaps with a transfer in one
// direction, and its end. Owned by the engine, used on its thread.
#pragma once

#include "base/timers.hpp"
#include "lane/ingress.hpp"
#include "lane/turns.hpp"
#include "link/bitmap.hpp"
#include "memory/granted.hpp"
#include "memory/pieces.hpp"
#include "wire/bodies.hpp"
#include "wire/place.hpp"

#include "weft/error.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::links {

using operation_id = std::uint64_t;

/// How an operation ended, for whoever waits for it.
struct outcome {
  error_code code;                     ///< success, or a weft::errc
  std::string where = {};              ///< what failed and where; empty on success
  std::vector<std::byte> payload = {}; ///< of the peer's response
  std::uint64_t bytes = 0;             ///< verified at the receiver
  std::uint32_t resent = 0;            ///< slices that were sent more than once
  bool maybe_executed = false;         ///< after an error: the peer's handler may have run
  /// After an error of an operation that asked for it (keep_progress): which slices the receiver had verified, as this
  /// end knows it, and their size.
  bitmap verified_slices = {};
  std::uint32_t slice_size = 0;
};

/// Waits for the end of an operation or of its data. complete() is called exactly once, on the engine's thread, and
/// after it no channel reads or writes the operation's memory. Destroyed without it only when the engine is.
class completion {
public:
  virtual ~completion() = default;
  virtual void complete(outcome&& ended) = 0;
};

/// The cutting of a transfer into slices; both ends compute the same.
struct slicing {
  std::uint64_t length = 0;
  std::uint32_t size = 0; ///< of every slice but the last

  [[nodiscard]] std::uint32_t count() const noexcept {
    return size == 0 ? 0 : static_cast<std::uint32_t>((length + size - 1) / size);
  }
  [[nodiscard]] std::uint64_t offset(std::uint32_t index) const noexcept { return std::uint64_t{index} * size; }
  [[nodiscard]] std::uint32_t length_of(std::uint32_t index) const noexcept {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(size, length - offset(index)));
  }
};

struct operation;

/// A set of channels of one lane: a bit for each number.
using channel_set = std::uint8_t;
static_assert(wire::most_channels <= 8);

[[nodiscard]] constexpr channel_set only(std::uint8_t number) noexcept {
  return static_cast<channel_set>(1U << number);
}

/// Which channel of its lane each slice of a transfer was last given to.
class carrier_list {
public:
  [[nodiscard]] std::uint8_t of(std::uint32_t slice) const noexcept { return each_.empty() ? one_ : each_[slice]; }
  /// `count`: the slices of the transfer. Costs memory only once a second channel carries some.
  void set(std::uint32_t slice, std::uint8_t number, std::uint32_t count) {
    if (one_ == nobody) one_ = number;
    if (each_.empty() && one_ != number) each_.assign(count, one_);
    if (!each_.empty()) each_[slice] = number;
  }

private:
  static constexpr std::uint8_t nobody = 0xff;

  std::uint8_t one_ = nobody; ///< of all that were given away, unless there is each_
  std::vector<std::uint8_t> each_;
};

/// The sending half of a transfer; it waits among those of its lane for its turn.
struct sender : lanes::turn {
  explicit sender(operation& owner) noexcept : of(owner) {}

  operation& of;
  memory::piece_list pieces;
  std::vector<std::uint32_t> crcs;  ///< of each slice, when they are known already; else computed when sent
  bitmap verified;                  ///< what the receiver told
  std::uint64_t verified_bytes = 0; ///< of these
  std::uint32_t next = 0;           ///< the first slice that was never given to a channel
  std::vector<std::uint32_t> again; ///< to be given to another channel: the last one was fenced, or they were refused
  memory::granted_list granted;     ///< where they go at the peer; empty when it did not say
  std::uint64_t window = 0;
  std::uint64_t unverified = 0; ///< bytes given to a channel and not known to be verified
  carrier_list carriers;
  channel_set used = 0;    ///< channels that carried some of it and are not fenced at the peer
  std::uint32_t posts = 0; ///< slices that a channel still reads
  std::array<std::uint32_t, wire::most_channels> posts_on{}; ///< of these, by the channel

  [[nodiscard]] bool has_slices() const noexcept { return !again.empty() || next < verified.size(); }
};

/// The receiving half of a transfer.
struct receiver {
  memory::piece_list pieces;
  bitmap verified;
  std::uint64_t verified_bytes = 0;
  std::vector<wire::slice_range> news; ///< not yet told to the sender
  std::uint64_t news_bytes = 0;
  std::uint64_t window = 0;
  time_point news_since;  ///< when the oldest of the news came
  bool reporting = false; ///< the news is told at the end of the batch
};

enum class phase : std::uint8_t {
  queued,   ///< ours: waits for room among the outstanding operations
  asked,    ///< ours: waits for the grant or response; the peer's: waits for its handler
  moving,   ///< slices are on their way
  settling, ///< a write whose data is complete: waits for the handler's response
  stopping, ///< it ended with an error; the fence is under way
};

struct operation : timed {
  static constexpr channel_set everywhere = 0xff;

  operation_id id = 0;
  bool ours = false;
  phase now = phase::queued;
  wire::request terms;
  slicing slices;
  std::unique_ptr<completion> owner; ///< ours: the caller's; the peer's: set with its data half
  std::optional<sender> out;
  std::optional<receiver> in;
  outcome ending;
  std::vector<std::byte> waiting_payload; ///< queued: the request's payload
  memory::granted_list granted;           ///< the peer's read, until it is supplied
  std::uint64_t granted_pieces = 0;       ///< in that, or in the sender's
  bool answered = false;                  ///< ours: the response is here; the peer's: it was sent
  bool keep_progress = false;             ///< ours: an error tells which slices were verified
  bool peer_gone = false;                 ///< the peer cancelled it: nobody waits for a response
  channel_set fence_on = 0;               ///< stopping: channels whose markers prove the fence, those up when it began
  channel_set carried_by = everywhere;    ///< channels on which the sender's marker must come: all until one told
  channel_set marked_on = 0;              ///< those on which nothing of it comes any more
  std::uint32_t refused = 0;              ///< slices that the receiver's check refused
  bool marked = false;                    ///< the markers behind its last slices were posted here

  time_point deadline = time_point::max();
  time_point wanted_by = time_point::max(); ///< a deadline that its caller gave it: it orders those of one lane
  duration stall = duration::max();
  time_point last_progress;
  time_point fence_due = time_point::max(); ///< fencing: when the channel is closed by force

  /// By the receiver, as this end knows it.
  [[nodiscard]] std::uint64_t verified_bytes() const noexcept {
    return in ? in->verified_bytes : out ? out->verified_bytes : 0;
  }
  /// Its end is decided, and waits only for channels to let go of its memory.
  [[nodiscard]] bool fencing() const noexcept { return now == phase::stopping || (now == phase::settling && answered); }
};

} // namespace weft::links
