#include "link/session.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::links {
namespace {

/// A channel that lived shorter than this flapped.
constexpr auto settled_after = std::chrono::seconds(1);

} // namespace

session::session(session_host& actions, const tunables& limits, wire::hello mine)
    : host_(actions), limits_(limits), dials_(true), mine_(std::move(mine)) {}

session::session(session_host& actions, const tunables& limits, wire::hello mine, wire::hello peer)
    : host_(actions), limits_(limits), dials_(false), mine_(std::move(mine)), peer_(std::move(peer)) {
  mine_.session = peer_.session;
}

time_point session::next_due() const noexcept {
  if (state_ == session_state::ended) return time_point::max();
  auto due = std::min({redial_at_, handshake_until_, lost_at_, probe_until_});
  if (state_ != session_state::established) return due; // channels wait for the session
  for (const auto& channel : channels_) due = std::min(due, channel.retry_at);
  return due;
}

void session::tick() {
  if (state_ == session_state::ended) return;
  if (now_ >= lost_at_) {
    return end(error(errc::peer_lost, fmt::format("no session with {} ({}: {})", peer_.name, last_failure_.where(),
                                                  make_error_code(last_failure_.code()).message())));
  }
  if (now_ >= handshake_until_) {
    if (was_linked_) host_.drop_session(); // else its end does, behind a goodbye
    return session_lost(error(errc::peer_unresponsive, "no answer to the handshake"));
  }
  if (now_ >= probe_until_) end_probe(false);
  if (now_ >= redial_at_) {
    redial_at_ = time_point::max();
    dial();
  }
  retry_channels();
}

void session::start() {
  if (dials_) return dial();
  was_linked_ = true;
  answer_hello();
  host_.linked();
}

void session::dial() {
  state_ = session_state::dialling;
  handshake_until_ = deadline_after(now_, limits_.connect_timeout);
  host_.dial_session();
}

void session::answer_hello() {
  mine_.session_epoch = peer_.session_epoch;
  state_ = session_state::established;
  send_hello(wire::frame_type::hello_answer);
  ask_for_life();
}

void session::close(errc reason) {
  if (state_ == session_state::ended) return;
  if (state_ == session_state::established || state_ == session_state::greeting) {
    host_.send({.type = wire::frame_type::goodbye, .code = static_cast<std::uint32_t>(reason)}, {});
  }
  state_ = session_state::ended;
  end_probe(false);
}

void session::end(const error& why) {
  close(why.code());
  host_.drop_session();
  host_.ended(why);
}

void session::probe() {
  if (state_ == session_state::ended) return host_.probed(false);
  if (probe_until_ != time_point::max()) return; // it joins the one under way
  probe_until_ = deadline_after(now_, limits_.probe_timeout);
  ask_for_life();
}

void session::ask_for_life() {
  const bool asked = probe_until_ != time_point::max();
  if (asked && state_ == session_state::established) host_.send({.type = wire::frame_type::ping}, {});
}

void session::end_probe(bool lives) {
  if (std::exchange(probe_until_, time_point::max()) != time_point::max()) host_.probed(lives);
}

void session::send_hello(wire::frame_type type) {
  std::vector<std::byte> body;
  wire::encode(mine_, body);
  host_.send({.type = type}, body);
}

void session::connected() {
  if (state_ != session_state::dialling) return;
  state_ = session_state::greeting;
  handshake_until_ = deadline_after(now_, limits_.handshake_timeout);
  ++mine_.session_epoch;
  send_hello(wire::frame_type::hello);
}

void session::disconnected(const error& why) {
  if (state_ == session_state::ended || state_ == session_state::broken) return;
  session_lost(why);
}

void session::session_lost(const error& why) {
  last_failure_ = why;
  handshake_until_ = time_point::max();
  // A link that never was has nothing to keep: whoever wants it may connect again.
  if (!was_linked_) return end(why);
  if (lost_at_ == time_point::max()) lost_at_ = deadline_after(now_, limits_.session_grace);
  state_ = session_state::broken;
  if (dials_) redial_at_ = deadline_after(now_, redial_pause(limits_, failures_++));
}

bool session::resumed(const wire::hello& peer) {
  if (dials_ || state_ == session_state::ended || peer.incarnation != peer_.incarnation) return false;
  if (peer.session_epoch <= peer_.session_epoch) return false;
  host_.drop_session();
  peer_.session_epoch = peer.session_epoch;
  lost_at_ = time_point::max();
  answer_hello();
  for (std::uint32_t i = 0; i < channels_.size(); ++i) {
    const auto& channel = channels_[i];
    if (channel.state == channel_state::waiting)
      send_channel_frame(wire::frame_type::channel_wanted, wire::place::at(i), channel.epoch);
  }
  return true;
}

void session::frame_arrived(const wire::frame_header& header, std::span<const std::byte> body) {
  if (state_ == session_state::ended) return;
  const bool known_place = wire::place::is_one(header.index);
  const auto at = wire::place::at(header.index);
  switch (header.type) {
    case wire::frame_type::hello_answer: return hello_answered(body);
    case wire::frame_type::refusal:
      return end(error(wire::reason_of(header.code, errc::protocol_error), "the peer refused the session"));
    case wire::frame_type::goodbye: return peer_ended(wire::reason_of(header.code, errc::closed));
    case wire::frame_type::ping: return host_.send({.type = wire::frame_type::pong}, {});
    case wire::frame_type::pong: return end_probe(true);
    case wire::frame_type::channel_wanted:
      if (known_place && dials_) return channel_wanted(at, header.epoch);
      break;
    case wire::frame_type::channel_failed:
      if (known_place) return host_.drop_channel(at, header.epoch);
      break;
    default: break;
  }
  end(error(errc::protocol_error,
            fmt::format("frame of type {} on the session with {}", static_cast<int>(header.type), peer_.name)));
}

void session::peer_ended(errc reason) {
  end(error(errc::peer_closed, reason == errc::closed ? peer_.name : fmt::format("{}: {}", peer_.name, name(reason))));
}

void session::hello_answered(std::span<const std::byte> body) {
  auto peer = wire::decode_hello(body);
  const bool fits = peer && state_ == session_state::greeting && peer->session == mine_.session &&
                    peer->session_epoch == mine_.session_epoch;
  if (!fits) return end(error(errc::protocol_error, "answer to another hello"));
  if (peer->required != 0) return end(error(errc::version_mismatch, peer->name)); // no feature bit is known yet
  if (was_linked_ && peer->incarnation != peer_.incarnation) return end(error(errc::peer_restarted, peer->name));
  peer_ = std::move(*peer);
  state_ = session_state::established;
  handshake_until_ = lost_at_ = time_point::max();
  failures_ = 0;
  ask_for_life();
  if (!std::exchange(was_linked_, true)) host_.linked();
  retry_channels();
}

void session::want_channel(wire::place at) {
  auto& channel = channels_[at.index()];
  // Whoever asks while it is open has heard of its end before this session has.
  if (channel.state == channel_state::open) channel.again = true;
  if (state_ == session_state::ended || channel.state != channel_state::closed) return;
  channel.state = channel_state::waiting;
  if (!dials_) {
    // A wish that is lost with the session's connection is repeated by resumed(): the state remembers it.
    if (state_ == session_state::established) send_channel_frame(wire::frame_type::channel_wanted, at, channel.epoch);
    return;
  }
  channel.retry_at = channel.flaps == 0 ? now_ : deadline_after(now_, redial_pause(limits_, channel.flaps - 1));
  retry_channels();
}

bool session::replace_channel(wire::place at) {
  auto& channel = channels_[at.index()];
  // One that is not open now goes the best way by itself.
  if (!dials_ || channel.state != channel_state::open) return false;
  if (now_ - channel.opened_at >= settled_after) channel.flaps = 0;
  channel.state = channel_state::waiting;
  channel.retry_at = now_;
  retry_channels();
  return true;
}

/// The accepting end waits for a channel newer than `lost`, which was the newest that it had.
void session::channel_wanted(wire::place at, std::uint32_t lost) {
  auto& channel = channels_[at.index()];
  const bool held = channel.state == channel_state::open || channel.state == channel_state::dialling;
  if (!held) return want_channel(at);
  if (lost < channel.epoch) return; // said before the channel of now came up there
  channel.again = true;
  host_.drop_channel(at, channel.epoch);
}

void session::retry_channels() {
  // Without a session the peer may not know them any more: the redial decides first.
  if (!dials_ || state_ != session_state::established) return;
  for (std::uint32_t i = 0; i < channels_.size(); ++i) {
    auto& channel = channels_[i];
    if (channel.state != channel_state::waiting || channel.retry_at > now_) continue;
    channel.retry_at = time_point::max();
    channel.state = channel_state::dialling;
    channel.again = false;
    host_.dial_channel(wire::place::at(i), ++channel.epoch);
  }
}

void session::channel_opened(wire::place at, std::uint32_t epoch) {
  auto& channel = channels_[at.index()];
  channel.state = channel_state::open;
  channel.again = false;
  channel.epoch = epoch;
  channel.opened_at = now_;
  channel.retry_at = time_point::max();
}

void session::channel_lost(wire::place at, std::uint32_t epoch) {
  auto& channel = channels_[at.index()];
  if (epoch != channel.epoch || channel.state == channel_state::closed || channel.state == channel_state::waiting)
    return;
  const bool was_open = channel.state == channel_state::open;
  const bool flapped = !was_open || now_ - channel.opened_at < settled_after;
  channel.flaps = flapped ? channel.flaps + 1 : 0;
  channel.state = channel_state::closed;
  if (was_open && state_ == session_state::established) {
    send_channel_frame(wire::frame_type::channel_failed, at, epoch);
  }
  if (!was_open || std::exchange(channel.again, false)) want_channel(at);
}

bool session::may_open(wire::place at, std::uint32_t epoch) const noexcept {
  return !dials_ && state_ != session_state::ended && epoch > channels_[at.index()].epoch;
}

void session::send_channel_frame(wire::frame_type type, wire::place at, std::uint32_t epoch) {
  host_.send({.type = type, .epoch = epoch, .index = at.index()}, {});
}

} // namespace weft::links
