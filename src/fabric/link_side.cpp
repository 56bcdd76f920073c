#include "fabric/link_side.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"
#include "path/tcp/channel.hpp"
#include "path/tcp/connect.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {

link_side::link_side(worker& on, link_core& core, const tunables& limits, std::span<const lane> lanes, bool dialled)
    : worker_(on), core_(core), engine_(*this, limits, lanes, dialled), timer_(on.context()) {}

std::shared_ptr<link_side> link_side::self() {
  return {core_.shared_from_this(), this};
}

void link_side::adopt_connection(boost::asio::ip::tcp::socket connected, wire::place at, std::uint32_t epoch,
                                 bool answer) {
  path::tcp::mark(connected, lanes::marks_of(core_.fabric().limits(), at.carries));
  error_code gone; // then its address does not matter
  const auto local = connected.local_endpoint(gone).address();
  const auto channel = std::make_shared<path::tcp::channel>(std::move(connected), at, epoch, engine_, *this);
  if (answer) std::ignore = channel->post_message({.type = wire::frame_type::channel_answer, .epoch = epoch}, {});
  adopt(at, channel, local, [channel] { channel->start(); });
}

void link_side::adopt(wire::place at, channel_pointer opened, const boost::asio::ip::address& local,
                      std::function<void()> start) {
  if (ended_) return discard(at, std::move(opened));
  auto& here = of(at);
  discard_next(at);
  here.next = std::move(opened);
  here.over = &core_.fabric().rails().of(local);
  here.start = std::move(start);
  // The peer opened a newer one: it has given up the one of now.
  if (here.up) take_down(at, std::nullopt);
  if (!here.up && !here.closing) bring_up(at);
}

link_side::place_channels& link_side::of(wire::place at) {
  while (channels_.size() <= at.index()) channels_.emplace_back();
  return channels_[at.index()];
}

void link_side::bring_up(wire::place at) {
  auto& here = of(at);
  if (!here.next || ended_) return;
  here.up = std::exchange(here.next, nullptr);
  worker_.channel_opened();
  engine_.channel_up(at, *here.up, worker_.scheduler_of(*here.over));
  std::exchange(here.start, nullptr)();
}

void link_side::drop(wire::place at, std::uint32_t epoch) {
  auto& here = of(at);
  const auto why = error(errc::path_failed, "closed by the peer");
  if (here.up && here.up->epoch() == epoch) return lose(at, why);
  if (here.next && here.next->epoch() == epoch) channel_failed(at, epoch, why);
}

/// Closes the channel, which is the fence of this end. Where a reason is given the session hears of it.
void link_side::take_down(wire::place at, std::optional<error> lost) {
  auto& here = of(at);
  here.closing = std::exchange(here.up, nullptr);
  here.lost = std::move(lost);
  worker_.channel_closed();
  if (here.closing->close()) return fenced(at);
  kept_ = self();
}

void link_side::fenced(wire::place at) {
  auto& here = of(at);
  const auto gone = std::exchange(here.closing, nullptr);
  if (const auto why = std::exchange(here.lost, std::nullopt)) core_.channel_lost(at, gone->epoch(), *why);
  engine_.channel_down(at);
  bring_up(at);
  finish_when_fenced();
}

void link_side::discard(wire::place at, channel_pointer unused) {
  if (unused->close()) return;
  kept_ = self();
  discarded_.push_back({at, std::move(unused)});
}

void link_side::discard_next(wire::place at) {
  auto& here = of(at);
  here.start = nullptr;
  if (here.next) discard(at, std::exchange(here.next, nullptr));
}

void link_side::lose(wire::place at, const error& why) {
  if (of(at).up) take_down(at, why);
}

void link_side::end(const error& why, std::shared_ptr<void> done) {
  if (ended_) return;
  ended_ = why;
  engine_.stop_listening();
  end_done_ = std::move(done);
  for (std::uint32_t i = 0; i < channels_.size(); ++i) {
    discard_next(wire::place::at(i));
    if (channels_[i].up) take_down(wire::place::at(i), std::nullopt);
  }
  finish_when_fenced();
}

void link_side::finish_when_fenced() {
  const bool fencing =
      !discarded_.empty() || std::any_of(channels_.begin(), channels_.end(), [this](const place_channels& each) {
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

void link_side::set_timer() {
  if (ended_) return;
  timer_.wait_until(engine_.next_due(), [self = self()] {
    self->batch_begins();
    self->engine_.tick();
    self->batch_ends();
  });
}

void link_side::open_channel(wire::place at) {
  if (!ended_) core_.want_channel(at);
}

void link_side::close_channel(wire::place at) {
  lose(at, error(errc::path_failed, "closed to fence a transfer"));
}

void link_side::operation_arrived(const links::incoming& begun) {
  core_.fabric().operation_arrived(self(), begun);
}

void link_side::protocol_broken(const error& how) {
  core_.break_off(how);
}

void link_side::batch_begins() {
  worker_.begin();
  take_part();
}

void link_side::take_part() {
  if (!touched) worker_.touch(self());
}

void link_side::channel_failed(wire::place at, std::uint32_t epoch, const error& why) {
  auto& here = of(at);
  if (here.up && here.up->epoch() == epoch) return lose(at, why);
  if (here.closing && here.closing->epoch() == epoch && here.lost) here.lost = why;
  if (!here.next || here.next->epoch() != epoch) return;
  discard_next(at);
  core_.channel_lost(at, epoch, why);
}

void link_side::channel_proven(wire::place at, std::uint32_t epoch) {
  core_.queue_pair_proven(at, epoch);
}

void link_side::channel_closed(wire::place at, std::uint32_t epoch) {
  auto& here = of(at);
  if (here.closing && here.closing->epoch() == epoch) return fenced(at);
  std::erase_if(discarded_, [&](const discarded& each) { return each.at == at && each.channel->epoch() == epoch; });
  finish_when_fenced();
}

} // namespace weft::fabrics
