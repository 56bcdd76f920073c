// The control side of a link: handshake, redial, the set-up of channels, and when a peer counts as lost. A state
// machine without I/O on the data thread; the connections belong to its host.
#pragma once

#include "base/clock.hpp"
#include "base/tunables.hpp"
#include "wire/bodies.hpp"
#include "wire/place.hpp"

#include "weft/error.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace weft::links {

/// The actions of a session. Never called back into from inside these, but for drop_channel: that may tell of the
/// channel's loss at once, so it is the last thing that an event does.
class session_host {
public:
  /// Dialling end: connect to the peer; session::connected or session::disconnected follows.
  virtual void dial_session() = 0;
  /// Close the session's connection without another event from it.
  virtual void drop_session() = 0;
  virtual void send(const wire::frame_header& header, std::span<const std::byte> body) = 0;
  /// Dialling end: connect a channel; channel_opened or channel_lost follows.
  virtual void dial_channel(wire::place at, std::uint32_t epoch) = 0;
  /// The peer's end of this channel is gone: close ours; channel_lost follows.
  virtual void drop_channel(wire::place at, std::uint32_t epoch) = 0;
  /// The first handshake is complete.
  virtual void linked() = 0;
  /// What a probe found: whether the peer gave a sign of life in time.
  virtual void probed(bool lives) = 0;
  /// The link is over, for ever.
  virtual void ended(const error& why) = 0;

protected:
  ~session_host() = default;
};

enum class session_state : std::uint8_t {
  idle,     ///< not started
  dialling, ///< the dialling end waits for its connection
  greeting, ///< hello was sent, the answer is awaited
  established,
  broken, ///< the connection is lost: the dialling end waits to redial, the other for the redial
  ended,
};

class session {
public:
  /// The dialling end: `mine` has the session id.
  session(session_host& actions, const tunables& limits, wire::hello mine);
  /// The accepting end: `peer` is the hello that opened it.
  session(session_host& actions, const tunables& limits, wire::hello mine, wire::hello peer);

  void advance(time_point now) noexcept { now_ = now; }
  [[nodiscard]] time_point next_due() const noexcept;
  void tick();

  /// Dials, or answers the hello.
  void start();
  /// Tells the peer and ends; ended() is not called.
  void close(errc reason);

  /// Asks the peer for a sign of life, as soon as there is a connection; session_host::probed follows.
  void probe();

  // The session's connection.
  void connected();
  void disconnected(const error& why);
  void frame_arrived(const wire::frame_header& header, std::span<const std::byte> body);
  /// The accepting end: a new connection presented this session's id. False: the hello is stale or not the peer's.
  [[nodiscard]] bool resumed(const wire::hello& peer);

  // Channels.
  /// Something waits for a channel in this place.
  void want_channel(wire::place at);
  /// The dialling end: opens another channel in this place, which takes over from the one of now. False: it is not
  /// open.
  bool replace_channel(wire::place at);
  void channel_opened(wire::place at, std::uint32_t epoch);
  /// A channel that was open, or one being dialled, is closed at this end.
  void channel_lost(wire::place at, std::uint32_t epoch);
  /// The accepting end: whether a channel with this epoch may be opened.
  [[nodiscard]] bool may_open(wire::place at, std::uint32_t epoch) const noexcept;

  [[nodiscard]] session_state state() const noexcept { return state_; }
  [[nodiscard]] const wire::hello& peer() const noexcept { return peer_; }
  [[nodiscard]] const wire::hello& mine() const noexcept { return mine_; }

private:
  enum class channel_state : std::uint8_t { closed, waiting, dialling, open };
  struct channel {
    channel_state state = channel_state::closed;
    std::uint32_t epoch = 0; ///< of the newest attempt
    std::uint32_t flaps = 0; ///< attempts and short-lived channels in a row
    bool again = false;      ///< somebody waits for the successor of this one, which is not closed here yet
    time_point opened_at{};
    time_point retry_at = time_point::max();
  };

  void dial();
  void answer_hello();
  void send_hello(wire::frame_type type);
  void peer_ended(errc reason);
  void hello_answered(std::span<const std::byte> body);
  void session_lost(const error& why);
  void end_probe(bool lives);
  void ask_for_life();
  void end(const error& why);
  void retry_channels();
  void channel_wanted(wire::place at, std::uint32_t lost);
  void send_channel_frame(wire::frame_type type, wire::place at, std::uint32_t epoch);

  session_host& host_;
  const tunables& limits_;
  const bool dials_;
  wire::hello mine_;
  wire::hello peer_;
  session_state state_ = session_state::idle;
  time_point now_{};
  bool was_linked_ = false;
  std::uint32_t failures_ = 0;
  time_point redial_at_ = time_point::max();
  time_point handshake_until_ = time_point::max();
  time_point lost_at_ = time_point::max(); ///< when the peer counts as lost
  time_point probe_until_ = time_point::max();
  error last_failure_;
  std::array<channel, wire::place_count> channels_; ///< by their index
};

} // namespace weft::links
