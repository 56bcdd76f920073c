#include "endpoint.hpp"

#include "node.hpp"

#include "base/crc32c.hpp"

#include <fmt/format.h>

namespace weft::sim {
namespace {

constexpr lane realtime_lanes[] = {lane::realtime};
constexpr lane other_lanes[] = {lane::standard, lane::bulk, lane::background};
constexpr std::uint64_t plenty = std::uint64_t{1} << 40;

wire::hello greeting_of(const node& from, id128 session) {
  return {.name = from.name, .incarnation = from.incarnation, .session = session};
}

} // namespace

endpoint::side::side(endpoint& owner, std::span<const lane> lanes, bool dialled)
    : in(owner), rails{{{lanes::policies_of(owner.node_.in.limits, {}), owner.board_,
                         owner.node_.in.limits.lane_budget.value()},
                        {lanes::policies_of(owner.node_.in.limits, {}), owner.other_board_,
                         owner.node_.in.limits.lane_budget.value()}}},
      engine(*this, owner.node_.in.limits, lanes, dialled) {}

void endpoint::side::operation_arrived(const links::incoming& begun) {
  known.push_back({begun.id, begun.terms.carries});
  in.node_.in.serves->arrived(in, engine, begun);
}

void endpoint::side::protocol_broken(const error& how) {
  in.node_.in.failed("an honest peer broke the protocol: " + how.where());
}

namespace {

std::optional<event> event_of(wire::frame_type type) noexcept {
  switch (type) {
    case wire::frame_type::grant: return event::grant;
    case wire::frame_type::response: return event::response;
    case wire::frame_type::progress: return event::progress;
    case wire::frame_type::cancel: return event::cancel;
    case wire::frame_type::marker: return event::marker;
    default: return std::nullopt;
  }
}

} // namespace

void endpoint::side::close_channel(wire::place at) {
  closing[at.index()] = true;
  in.shut(at);
}

void endpoint::side::frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) {
  const auto before = engine.phase_of(header.transfer);
  const std::uint64_t repeated = engine.counters().messages_repeated;
  const bool fences = header.type == wire::frame_type::channel_fenced;
  if (fences) note_phases();
  const bool damaged = (header.flags & wire::flag_body_crc) != 0 && crc32c(body) != header.body_crc;
  const bool counts = !damaged && !closing[at.index()]; // else the next channel brings it again
  engine.frame_arrived(at, header, body);
  const auto what = event_of(header.type);
  const bool again = engine.counters().messages_repeated > repeated;
  if (what && counts) in.node_.in.met.met(again ? event::repeated : *what, before);
  if (!fences || !counts || again) return;
  for (const auto& each : known) {
    const bool concerned = each.before && each.carries == wire::place::at(header.index).carries;
    if (concerned) in.node_.in.met.met(event::fence, each.before);
  }
}

void endpoint::side::note_phases() {
  for (auto& each : known) each.before = engine.phase_of(each.id);
}

void endpoint::side::slice_began(wire::place at, const wire::frame_header& header) {
  happens(event::slice, header.transfer);
  engine.slice_began(at, header);
}

void endpoint::side::slice_landed(wire::place at, const wire::frame_header& header) {
  happens(event::slice, header.transfer);
  engine.slice_landed(at, header);
}

void endpoint::side::sent(wire::place at, std::uint64_t transfer) {
  happens(event::sent, transfer);
  engine.sent(at, transfer);
}

void endpoint::side::happens(event what, links::operation_id id) {
  in.node_.in.met.met(what, engine.phase_of(id));
}

void endpoint::side::happens_to_all(event what, lane of) {
  std::erase_if(known, [&](const known_operation& each) {
    const auto now = engine.phase_of(each.id);
    if (now && each.carries == of) in.node_.in.met.met(what, now);
    return !now;
  });
}

void endpoint::side::tick() {
  if (engine.next_due() > in.node_.in.time.now()) return;
  note_phases();
  const auto may_be_forced = [](const known_operation& each) {
    return each.before == links::phase::stopping || each.before == links::phase::settling;
  };
  const auto of_these = std::count_if(known.begin(), known.end(), may_be_forced);
  const std::uint64_t forced = engine.counters().forced_fences;
  engine.tick();
  const bool forces = engine.counters().forced_fences > forced;
  for (const auto& each : known) {
    if (!each.before) continue;
    const bool changed = engine.phase_of(each.id) != each.before;
    // A fence that is forced is one operation's, and ends others: where there are several it is not known whose it is.
    const bool due = may_be_forced(each) ? (forces ? of_these == 1 : changed) : changed;
    if (due) in.node_.in.met.met(event::due, each.before);
  }
}

endpoint::endpoint(node& in, std::string peer, bool one_sided)
    : node_(in), peer_(std::move(peer)), one_sided_(one_sided),
      session_(*this, in.in.limits, greeting_of(in, {in.in.random.next(), in.in.random.next()})),
      realtime_(*this, realtime_lanes, true), others_(*this, other_lanes, true) {}

endpoint::endpoint(node& in, const wire::hello& greeting, end_pointer over, bool one_sided)
    : node_(in), peer_(greeting.name), one_sided_(one_sided),
      session_(*this, in.in.limits, greeting_of(in, greeting.session), greeting), session_end_(std::move(over)),
      realtime_(*this, realtime_lanes, false), others_(*this, other_lanes, false) {
  session_end_->own(*this);
}

endpoint::~endpoint() {
  die();
}

void endpoint::start() {
  run([this] { session_.start(); });
}

void endpoint::close() {
  run([this] {
    if (ending_) return;
    session_.close(errc::closed);
    ended(error(errc::closed, "by its own process"));
  });
}

void endpoint::die() {
  dead_ = over_ = true;
  if (session_end_) session_end_->die();
  for (auto& slot : slots_) {
    if (slot.current) slot.current->die();
    if (slot.next) slot.next->die();
  }
}

void endpoint::pause(bool on) {
  if (session_end_) session_end_->pause(on);
  for (auto& slot : slots_) {
    if (slot.current) slot.current->pause(on);
    if (slot.next) slot.next->pause(on);
  }
}

std::size_t endpoint::outstanding() const noexcept {
  std::size_t sum = 0;
  for (const auto* side : {&realtime_, &others_}) {
    sum += side->engine.counters().operations_begun - side->engine.counters().operations_ended;
  }
  return sum;
}

path::sim::end* endpoint::channel(wire::place at) noexcept {
  auto& slot = slot_of(at);
  return slot.up ? slot.current.get() : nullptr;
}

std::optional<wire::place> endpoint::place_of(const path::sim::end& at) const noexcept {
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].current.get() == &at) return wire::place::at(i);
  }
  return std::nullopt;
}

// Batches of events and time.

void endpoint::run(const std::function<void()>& what) {
  enter();
  what();
  leave();
}

void endpoint::enter() {
  if (depth_++ > 0) return;
  const auto now = node_.in.time.now();
  session_.advance(now);
  realtime_.engine.advance(now);
  others_.engine.advance(now);
}

void endpoint::leave() {
  if (depth_ == 1) settle();
  --depth_;
}

void endpoint::settle() {
  if (dead_) return;
  finish_when_fenced();
  // Twice: what completes on one side may start something on the other.
  for (auto* one : {&realtime_, &others_, &realtime_, &others_}) {
    one->engine.flush();
    if (one == &realtime_) board_.seen(node_.in.time.now());
    for (auto& rail : one->rails) {
      rail.advance(node_.in.time.now());
      // Slices leave whole or in parts.
      do rail.run(node_.in.random.chance(0.5) ? plenty : 1 + node_.in.random.below(200'000));
      while (!rail.idle());
    }
    one->engine.flush_channels();
  }
  arm();
}

void endpoint::arm() {
  auto due = std::min({session_.next_due(), realtime_.engine.next_due(), others_.engine.next_due()});
  for (const auto* one : {&realtime_, &others_}) {
    for (const auto& rail : one->rails) due = std::min(due, rail.next_due());
  }
  if (due >= armed_) return;
  armed_ = due;
  node_.in.time.at(due, [self = weak_from_this()] {
    if (auto alive = self.lock(); alive && !alive->dead_) {
      alive->node_.when_running([self] {
        if (auto running = self.lock()) running->wake();
      });
    }
  });
}

void endpoint::wake() {
  if (dead_) return;
  armed_ = time_point::max();
  run([this] {
    session_.tick();
    realtime_.tick();
    others_.tick();
  });
}

// The session.

void endpoint::dial_session() {
  const auto attempt = ++session_attempt_;
  node_.in.dial(node_, peer_, std::nullopt, one_sided_, [self = weak_from_this(), attempt](const end_pointer& over) {
    auto alive = self.lock();
    if (!alive || alive->dead_ || attempt != alive->session_attempt_) {
      if (over) over->close();
      return;
    }
    alive->run([&] {
      if (!over) return alive->session_.disconnected(error(errc::connect_refused, alive->peer_));
      alive->session_end_ = over;
      over->own(*alive);
      alive->session_.connected();
    });
  });
}

void endpoint::drop_session() {
  ++session_attempt_;
  let_go();
  session_end_ = std::exchange(offered_, nullptr);
  if (session_end_) session_end_->own(*this);
}

void endpoint::send(const wire::frame_header& header, std::span<const std::byte> body) {
  auto complete = header;
  complete.body_length = static_cast<std::uint32_t>(body.size());
  if (session_end_) std::ignore = session_end_->post_message(complete, body);
}

bool endpoint::session_offered(const wire::hello& greeting, const end_pointer& over) {
  bool taken = false;
  run([&] {
    if (ending_) return;
    // resumed() drops the old connection before it answers over the new one.
    offered_ = over;
    taken = session_.resumed(greeting);
    offered_.reset();
  });
  return taken;
}

void endpoint::ended(const error& why) {
  node_.in.note(fmt::format("{}: link to {} ends: {}", node_.name, peer_, why.message()));
  ending_ = why;
  for (std::uint32_t i = 0; i < slots_.size(); ++i) {
    auto& slot = slots_[i];
    if (slot.next) slot.next->die();
    slot.next.reset();
    shut(wire::place::at(i));
  }
}

void endpoint::finish_when_fenced() {
  if (!ending_ || over_) return;
  for (const auto& slot : slots_) {
    if (slot.current) return;
  }
  over_ = true;
  realtime_.engine.fail_all(*ending_);
  others_.engine.fail_all(*ending_);
  let_go();
}

/// A goodbye needs some time to get out.
void endpoint::let_go() {
  if (!session_end_) return;
  session_end_->disown();
  node_.in.time.after(5ms, [last = std::move(session_end_)] { last->close(); });
}

// Channels.

void endpoint::dial_channel(wire::place at, std::uint32_t epoch) {
  auto& slot = slot_of(at);
  slot.dialling = true;
  slot.epoch = epoch;
  const auto attempt = ++slot.attempt;
  const auto alive_in = [self = weak_from_this(), at, attempt]() -> std::shared_ptr<endpoint> {
    auto alive = self.lock();
    const bool awaited = alive && !alive->dead_ && alive->slot_of(at).attempt == attempt && alive->slot_of(at).dialling;
    return awaited ? alive : nullptr;
  };
  node_.in.dial(node_, peer_, at, one_sided_, [alive_in, at](const end_pointer& over) {
    if (auto alive = alive_in()) return alive->run([&] { alive->channel_connected(at, over); });
    if (over) over->close();
  });
  node_.in.time.after(node_.in.limits.connect_timeout, [alive_in, at] {
    auto alive = alive_in();
    if (!alive) return;
    alive->node_.when_running([alive_in, at] {
      if (auto running = alive_in()) running->run([&] { running->shut(at); });
    });
  });
}

void endpoint::channel_connected(wire::place at, const end_pointer& over) {
  auto& slot = slot_of(at);
  if (!over) {
    slot.dialling = false;
    return session_.channel_lost(at, slot.epoch);
  }
  slot.current = over;
  over->own(*this);
  std::vector<std::byte> body;
  wire::encode(wire::channel_hello{session_.mine().session, at, slot.epoch}, body);
  std::ignore = over->post_message(
      {.type = wire::frame_type::channel_hello, .body_length = static_cast<std::uint32_t>(body.size())}, body);
}

void endpoint::channel_up(wire::place at) {
  auto& slot = slot_of(at);
  slot.dialling = false;
  slot.up = true;
  node_.in.note(fmt::format("{}: {} channel {} to {} is up", node_.name, to_text(at), slot.epoch, peer_));
  auto& side = side_of(at.carries);
  slot.current->listen(at, side, slot.epoch);
  session_.channel_opened(at, slot.epoch);
  side.happens_to_all(event::channel_up, at.carries);
  side.engine.channel_up(at, *slot.current, side.rails[at.number % side.rails.size()]);
}

void endpoint::channel_offered(wire::place at, std::uint32_t epoch, const end_pointer& over) {
  run([&] {
    auto& slot = slot_of(at);
    if (ending_ || !session_.may_open(at, epoch) || (slot.next && slot.next_epoch >= epoch)) {
      over->close();
      return;
    }
    over->own(*this);
    if (!slot.current) return accept(at, over, epoch);
    if (slot.next) slot.next->die();
    slot.next = over;
    slot.next_epoch = epoch;
    shut(at); // the old one first
  });
}

void endpoint::accept(wire::place at, const end_pointer& over, std::uint32_t epoch) {
  auto& slot = slot_of(at);
  slot.current = over;
  slot.epoch = epoch;
  std::ignore = over->post_message({.type = wire::frame_type::channel_answer, .epoch = epoch}, {});
  channel_up(at);
}

void endpoint::drop_channel(wire::place at, std::uint32_t epoch) {
  if (slot_of(at).epoch == epoch) shut(at);
}

/// Closes the channel of a lane, or gives up dialling it.
void endpoint::shut(wire::place at) {
  auto& slot = slot_of(at);
  if (!slot.current) {
    if (!std::exchange(slot.dialling, false)) return;
    ++slot.attempt;
    return session_.channel_lost(at, slot.epoch);
  }
  const bool was_usable = slot.current->usable();
  if (!slot.current->close()) return; // closed() follows
  if (!was_usable || node_.in.random.chance(0.5)) return channel_is_down(at);
  node_.in.time.after(std::chrono::microseconds(node_.in.random.below(500)),
                      [self = weak_from_this(), at, gone = slot.current] {
                        auto alive = self.lock();
                        if (!alive || alive->dead_) return;
                        alive->node_.when_running([self, at, gone] {
                          auto running = self.lock();
                          if (!running || running->slot_of(at).current != gone) return;
                          running->run([&] { running->channel_is_down(at); });
                        });
                      });
}

void endpoint::channel_is_down(wire::place at) {
  auto& slot = slot_of(at);
  const auto gone = std::exchange(slot.current, nullptr);
  const bool was_up = std::exchange(slot.up, false);
  slot.dialling = false;
  node_.in.note(fmt::format("{}: {} channel {} to {} is down", node_.name, to_text(at), slot.epoch, peer_));
  // A host may tell the two in either order.
  const bool session_first = node_.in.random.chance(0.5);
  const auto epoch = slot.epoch;
  if (session_first) session_.channel_lost(at, epoch);
  if (was_up) {
    ++losses_[static_cast<std::size_t>(at.carries)];
    side_of(at.carries).closing[at.index()] = false;
    side_of(at.carries).happens_to_all(event::channel_down, at.carries);
    side_of(at.carries).engine.channel_down(at);
  }
  if (!session_first) session_.channel_lost(at, epoch);
  if (const auto next = std::exchange(slot.next, nullptr); next && !ending_) accept(at, next, slot.next_epoch);
}

void endpoint::frame_arrived(path::sim::end& at, const wire::frame_header& header, std::span<const std::byte> body) {
  if (&at == session_end_.get()) return session_.frame_arrived(header, body);
  const auto where = place_of(at);
  const bool answers = where && slot_of(*where).dialling && header.type == wire::frame_type::channel_answer;
  if (answers && at.usable()) channel_up(*where);
}

void endpoint::lost(path::sim::end& at) {
  if (&at == session_end_.get()) {
    session_end_->close();
    session_end_.reset();
    return session_.disconnected(error(errc::path_failed, "the session's connection broke"));
  }
  for (auto& slot : slots_) {
    if (slot.next.get() != &at) continue;
    slot.next->die();
    slot.next.reset();
  }
  if (const auto where = place_of(at)) shut(*where);
}

void endpoint::closed(path::sim::end& at) {
  if (const auto where = place_of(at)) channel_is_down(*where);
}

void endpoint::grant(lane carries, links::operation_id transfer, const memory::piece_list& pieces) {
  memory::piece_list bare; // keeps nothing alive, as a device does not
  pieces.for_each(0, pieces.length(), [&bare](std::span<std::byte> part) { bare.add(part); });
  grants_[{carries == lane::realtime, transfer}] = std::move(bare);
}

const memory::piece_list* endpoint::granted(path::sim::end& at, std::uint64_t transfer) {
  const auto where = place_of(at);
  if (!where) return nullptr;
  const auto found = grants_.find({where->carries == lane::realtime, transfer});
  return found == grants_.end() ? nullptr : &found->second;
}

} // namespace weft::sim
