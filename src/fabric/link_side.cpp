#include "fabric/link_side.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"
#include "path/tcp/channel.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {

link_side::link_side(worker& on, link_core& core, const tunables& limits, std::span<const lane> lanes, bool dialled)
    : worker_(on), core_(core), engine_(*this, on.rail(), limits, lanes, dialled), timer_(on.context()) {}

std::shared_ptr<link_side> link_side::self() {
  return {core_.shared_from_this(), this};
}

void link_side::adopt_connection(boost::asio::ip::tcp::socket connected, lane on, std::uint32_t epoch, bool answer) {
  const auto channel = std::make_shared<path::tcp::channel>(std::move(connected), on, epoch, engine_, *this);
  if (answer) std::ignore = channel->post_message({.type = wire::frame_type::channel_answer, .epoch = epoch}, {});
  adopt(on, channel, [channel] { channel->start(); });
}

void link_side::adopt(lane on, channel_pointer opened, std::function<void()> start) {
  if (ended_) return discard(on, std::move(opened));
  auto& at = of(on);
  discard_next(on);
  at.next = std::move(opened);
  at.start = std::move(start);
  // The peer opened a newer one: it has given up the one of now.
  if (at.up) take_down(on, std::nullopt);
  if (!at.up && !at.closing) bring_up(on);
}

void link_side::bring_up(lane on) {
  auto& at = of(on);
  if (!at.next || ended_) return;
  at.up = std::exchange(at.next, nullptr);
  worker_.channel_opened();
  engine_.channel_up(on, *at.up);
  std::exchange(at.start, nullptr)();
}

void link_side::drop(lane on, std::uint32_t epoch) {
  auto& at = of(on);
  const auto why = error(errc::path_failed, "closed by the peer");
  if (at.up && at.up->epoch() == epoch) return lose(on, why);
  if (at.next && at.next->epoch() == epoch) channel_failed(on, epoch, why);
}

/// Closes the lane's channel, which is the fence of this end. Where a reason is given the session hears of it.
void link_side::take_down(lane on, std::optional<error> lost) {
  auto& at = of(on);
  at.closing = std::exchange(at.up, nullptr);
  at.lost = std::move(lost);
  worker_.channel_closed();
  if (at.closing->close()) return fenced(on);
  kept_ = self();
}

void link_side::fenced(lane on) {
  auto& at = of(on);
  const auto gone = std::exchange(at.closing, nullptr);
  if (const auto why = std::exchange(at.lost, std::nullopt)) core_.channel_lost(on, gone->epoch(), *why);
  engine_.channel_down(on);
  bring_up(on);
  finish_when_fenced();
}

void link_side::discard(lane on, channel_pointer unused) {
  if (unused->close()) return;
  kept_ = self();
  discarded_.push_back({on, std::move(unused)});
}

void link_side::discard_next(lane on) {
  auto& at = of(on);
  at.start = nullptr;
  if (at.next) discard(on, std::exchange(at.next, nullptr));
}

void link_side::lose(lane on, const error& why) {
  if (of(on).up) take_down(on, why);
}

void link_side::end(const error& why, std::shared_ptr<void> done) {
  if (ended_) return;
  ended_ = why;
  engine_.stop_listening();
  end_done_ = std::move(done);
  for (std::size_t i = 0; i < lane_count; ++i) {
    discard_next(static_cast<lane>(i));
    if (channels_[i].up) take_down(static_cast<lane>(i), std::nullopt);
  }
  finish_when_fenced();
}

void link_side::finish_when_fenced() {
  const bool fencing =
      !discarded_.empty() || std::any_of(channels_.begin(), channels_.end(), [this](const lane_channels& each) {
        return each.closing || (ended_ && each.up); // end() takes them down one after the other
      });
  if (fencing) return;
  const auto here = std::exchange(kept_, nullptr);
  if (!ended_ || std::exchange(over_, true)) return;
  engine_.fail_all(*ended_);
  timer_.cancel();
  end_done_.reset();
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
  auto& at = of(on);
  if (at.up && at.up->epoch() == epoch) return lose(on, why);
  if (!at.next || at.next->epoch() != epoch) return;
  discard_next(on);
  core_.channel_lost(on, epoch, why);
}

void link_side::channel_proven(lane on, std::uint32_t epoch) {
  core_.queue_pair_proven(on, epoch);
}

void link_side::channel_closed(lane on, std::uint32_t epoch) {
  auto& at = of(on);
  if (at.closing && at.closing->epoch() == epoch) return fenced(on);
  std::erase_if(discarded_, [&](const discarded& each) { return each.on == on && each.channel->epoch() == epoch; });
  finish_when_fenced();
}

} // namespace weft::fabrics
