#include "fabric/link_side.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"

#include <fmt/format.h>

namespace weft::fabrics {

link_side::link_side(worker& on, link_core& core, const tunables& limits, std::span<const lane> lanes, bool dialled)
    : worker_(on), core_(core), engine_(*this, on.rail(), limits, lanes, dialled), timer_(on.context()) {}

std::shared_ptr<link_side> link_side::self() {
  return {core_.shared_from_this(), this};
}

void link_side::adopt(boost::asio::ip::tcp::socket socket, lane on, std::uint32_t epoch, bool answer) {
  if (ended_) return;
  // The peer opened a newer one: it has given up this one, and now it is fenced here too.
  if (take_down(on)) engine_.channel_down(on);
  auto& channel = channels_[static_cast<std::size_t>(on)];
  worker_.channel_opened();
  channel = std::make_shared<path::tcp::channel>(std::move(socket), on, epoch, engine_, *this);
  if (answer) std::ignore = channel->post_message({.type = wire::frame_type::channel_answer, .epoch = epoch}, {});
  channel->start();
  engine_.channel_up(on, *channel);
}

void link_side::drop(lane on, std::uint32_t epoch) {
  auto& channel = channels_[static_cast<std::size_t>(on)];
  if (channel && channel->epoch() == epoch) lose(on, error(errc::path_failed, "closed by the peer"));
}

/// Closes the lane's channel, which is the fence of this end. Null: there was none.
std::shared_ptr<path::tcp::channel> link_side::take_down(lane on) {
  auto channel = std::exchange(channels_[static_cast<std::size_t>(on)], nullptr);
  if (!channel) return nullptr;
  channel->close();
  worker_.channel_closed();
  return channel;
}

void link_side::lose(lane on, const error& why) {
  const auto channel = take_down(on);
  if (!channel) return;
  core_.channel_lost(on, channel->epoch(), why);
  engine_.channel_down(on);
}

void link_side::end(const error& why) {
  if (std::exchange(ended_, true)) return;
  for (std::size_t i = 0; i < lane_count; ++i) {
    if (take_down(static_cast<lane>(i))) engine_.channel_down(static_cast<lane>(i));
  }
  engine_.fail_all(why);
  timer_.cancel();
}

void link_side::flush_channels() {
  engine_.flush_channels();
  set_timer();
}

/// The timer is moved only forward in time when it fires: later due times cost nothing.
void link_side::set_timer() {
  const auto due = engine_.next_due();
  if (ended_ || due >= timer_due_) return;
  timer_due_ = due;
  timer_.expires_at(due);
  timer_.async_wait([self = self()](const error_code& code) {
    if (code) return;
    self->timer_due_ = time_point::max();
    self->batch_begins();
    self->engine_.tick();
    self->batch_ends();
  });
}

void link_side::open_channel(lane on) {
  if (!ended_) core_.want_channel(on);
}

void link_side::close_channel(lane on) {
  lose(on, error(errc::path_failed, "closed to fence a transfer"));
}

void link_side::operation_arrived(const links::incoming& begun) {
  core_.fabric().operation_arrived(self(), begun);
}

void link_side::protocol_broken(const error& how) {
  core_.break_off(how);
}

void link_side::batch_begins() {
  worker_.begin();
  worker_.touch(self());
}

void link_side::channel_failed(lane on, std::uint32_t epoch, const error& why) {
  const auto& channel = channels_[static_cast<std::size_t>(on)];
  if (channel && channel->epoch() == epoch) lose(on, why);
}

} // namespace weft::fabrics
