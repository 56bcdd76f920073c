// A simulated connection and its two ends, each a path::channel. Of the stream kind, whose payload is placed as the
// listener says, or of the one-sided kind, whose payload lands in memory that was granted when the slice was posted,
// until the receiving end is fenced. The ends belong to their processes' hosts; everything runs on the scenario's
// thread.
#pragma once

#include "base/random.hpp"
#include "path/channel.hpp"
#include "path/sim/timeline.hpp"

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

namespace weft::path::sim {

/// What all connections of a scenario share.
struct environment {
  timeline& time;
  random_source& random;
  /// Called before a channel touches memory of a transfer.
  std::function<void(std::span<const std::byte> memory, bool writes)> touching;
  /// Bits that were flipped, as wire_terms say.
  std::uint64_t flips_payload = 0;
  std::uint64_t flips_body = 0;
  std::uint64_t flips_header = 0;
};

/// What the wire between two ends is like.
struct wire_terms {
  duration delay = std::chrono::microseconds(50);
  std::uint64_t bytes_per_second = 2'000'000'000;
  std::uint64_t queue = 256 * 1024;                  ///< bytes that may wait at the sender
  std::uint64_t window = 256 * 1024;                 ///< bytes that the receiver may not have taken yet
  duration silence = std::chrono::milliseconds(400); ///< until an end notices an unannounced loss
  bool one_sided = false;
  double flips_payload = 0; ///< probability that a bit of a slice flips on the way
  double flips_body = 0;    ///< that of another frame's body
  double flips_header = 0;
  bool skips_fence = false; ///< a broken channel: close() does not wait for late payload
};

class end;

/// The process that has an end. enter() and leave() enclose each batch of calls.
class end_owner {
public:
  virtual void enter() = 0;
  virtual void leave() = 0;
  /// A frame for an end that has no listener yet.
  virtual void frame_arrived(end& at, const wire::frame_header& header, std::span<const std::byte> body) = 0;
  /// The other end or the wire is gone, or damage was found: to be closed.
  virtual void lost(end& at) = 0;
  /// A close() that took its time is done: no memory is read or written through this end any more.
  virtual void closed(end& at) = 0;
  [[nodiscard]] virtual const memory::piece_list* granted(end& at, std::uint64_t transfer) = 0;

protected:
  ~end_owner() = default;
};

class connection;

class end final : public path::channel {
public:
  end(connection& in, end& other) : in_(in), other_(other) {}
  end(const end&) = delete;
  end& operator=(const end&) = delete;

  void own(end_owner& by) noexcept { owner_ = &by; }
  /// From now on messages and slices go to `to`.
  void listen(wire::place at, path::listener& to, std::uint32_t epoch);
  /// True when it is closed at once; else end_owner::closed follows.
  bool close() override;
  /// Its process is told nothing any more; what is under way goes on.
  void disown();
  /// The process died: nothing is read, written or called any more.
  void die();
  /// The process takes nothing while paused, though one-sided payload still lands.
  void pause(bool on);
  /// The whole connection is cut, see connection::cut.
  void cut(duration notices, duration other_notices);
  [[nodiscard]] std::shared_ptr<end> shared();
  /// This end finds the connection broken after `notice`.
  void break_after(duration notice);
  [[nodiscard]] bool usable() const noexcept { return state_ == state::open; }

  [[nodiscard]] capabilities can() const noexcept override;
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return epoch_; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte> body) override;
  [[nodiscard]] bool takes_slices() const noexcept override;
  void post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                  const memory::granted_list& granted) override;
  void flush() override {}

private:
  enum class state : std::uint8_t { open, closing, closed };
  using encoded_header = std::array<std::byte, wire::header_size>;

  /// A frame that waits to be transmitted.
  struct item {
    encoded_header head;
    std::vector<std::byte> body; ///< of a message, or of a slice that was copied
    std::vector<iovec> source;   ///< of a slice that is read when it is transmitted
    std::vector<iovec> target;   ///< one-sided: where its payload lands
    std::uint64_t length = 0;
    std::uint64_t done = 0;
    std::uint64_t transfer = 0;
    bool slice = false; ///< or a part of one
    bool ends = false;  ///< the last part of it
    bool flips = false;
    bool tells = false; ///< of its landing
  };

  /// What arrives in order and waits for the process.
  struct parcel {
    enum class kind : std::uint8_t { frame, slice_header, payload, record, end_of_stream } what{};
    encoded_header head{};
    std::vector<std::byte> bytes;
    bool tells = false;

    [[nodiscard]] std::uint64_t weight() const noexcept { return bytes.size() + wire::header_size; }
  };

  item frame_of(const wire::frame_header& header, double flips_header);
  void enqueue(item&& added);
  void transmit();
  void transmitted(std::uint64_t part);
  std::vector<std::byte> read_part(const item& from, std::uint64_t part);
  void send(parcel&& sent);
  void send_payload(const item& from, std::vector<std::byte>&& bytes);
  void land(const std::vector<iovec>& target, const std::vector<std::byte>& bytes);
  void arrive(parcel&& came);
  void deliver();
  void take(parcel&& came);
  void take_payload(std::span<const std::byte> bytes);
  void announce();
  void tell_landed(duration pause);
  void shut();
  void later(duration pause, std::function<void()> what);
  [[nodiscard]] bool something_waits() const noexcept;
  [[nodiscard]] bool room() const noexcept;

  connection& in_;
  end& other_;
  end_owner* owner_ = nullptr;
  path::listener* listener_ = nullptr;
  wire::place place_{};
  std::uint32_t epoch_ = 0;
  state state_ = state::open;
  bool dead_ = false; ///< its process is
  bool paused_ = false;
  bool delivering_ = false;
  bool broken_ = false; ///< lost() is to be called, or was
  bool told_lost_ = false;
  bool told_closed_ = true; ///< false: closed() is to be called
  bool transmitting_ = false;
  mutable bool refused_ = false; ///< writable() is owed as soon as there is room
  std::deque<item> queue_;
  std::uint64_t queued_ = 0;        ///< bytes of it
  std::uint64_t underway_ = 0;      ///< bytes transmitted, and not taken by the other end's process
  std::vector<std::uint64_t> read_; ///< transfers for which sent() is to be called
  std::uint64_t told_ = 0;          ///< parts whose landing is known here
  bool owes_landed_ = false;        ///< landed() is to be called
  std::deque<parcel> landed_;
  time_point last_arrival_{}; ///< of what this end sent: keeps the order
};

class connection : public std::enable_shared_from_this<connection> {
public:
  connection(environment& within, const wire_terms& as)
      : world(within), terms(as), first(*this, second), second(*this, first) {}

  /// The wire breaks: what is on it is lost (one-sided payload may still land), and each end notices in its time.
  void cut(duration first_notices, duration second_notices);

  environment& world;
  const wire_terms terms;
  bool is_cut = false;
  end first;  ///< of the dialling process
  end second; ///< of the accepting one
};

} // namespace weft::path::sim
