#include "fabric/link_core.hpp"

#include "fabric/fabric_core.hpp"

#include <unistd.h>

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

constexpr lane realtime_lanes[] = {lane::realtime};
constexpr lane data_lanes[] = {lane::standard, lane::bulk, lane::background};
/// The control connection carries no lane; this one marks its events.
constexpr lane control_lane = lane::standard;

/// Runs `then(socket)` on `to` in a batch, with a socket of that thread's.
template <class Then>
void hand_over(boost::asio::ip::tcp::socket socket, worker& to, Then then) {
  /// Closes it when the thread has ended and the work is dropped.
  struct handle {
    explicit handle(int owned) noexcept : number(owned) {}
    handle(handle&& other) noexcept : number(std::exchange(other.number, -1)) {}
    ~handle() {
      if (number >= 0) ::close(number);
    }
    int number;
  };
  error_code failed;
  const auto protocol = socket.local_endpoint(failed).protocol();
  handle released(failed ? -1 : socket.release(failed));
  // Where this fails `then` gets a socket that is closed, and finds out when it uses that.
  to.run([&to, released = std::move(released), protocol, then = std::move(then)]() mutable {
    boost::asio::ip::tcp::socket moved(to.context());
    error_code refused;
    if (released.number >= 0) moved.assign(protocol, released.number, refused);
    if (moved.is_open()) released.number = -1;
    then(std::move(moved));
  });
}

} // namespace

link_core::link_core(std::shared_ptr<fabric_core> fabric, path::tcp::address to, wire::hello mine)
    : fabric_(std::move(fabric)), thread_(fabric_->data_of(mine.session)), address_(std::move(to)),
      session_(*this, fabric_->limits(), std::move(mine)), timer_(thread_.context()), better_timer_(thread_.context()),
      realtime_(fabric_->realtime(), *this, fabric_->limits(), realtime_lanes, true),
      data_(thread_, *this, fabric_->limits(), data_lanes, true) {}

link_core::link_core(std::shared_ptr<fabric_core> fabric, wire::hello mine, wire::hello peer)
    : fabric_(std::move(fabric)), thread_(fabric_->data_of(peer.session)), peer_(peer.name),
      peer_incarnation_(peer.incarnation), session_(*this, fabric_->limits(), std::move(mine), std::move(peer)),
      timer_(thread_.context()), better_timer_(thread_.context()),
      realtime_(fabric_->realtime(), *this, fabric_->limits(), realtime_lanes, false),
      data_(thread_, *this, fabric_->limits(), data_lanes, false) {}

link_core::~link_core() {
  if (control_) control_->close();
  fabric_->keep_counters(*this);
}

bool link_core::forked() const noexcept {
  return fabric_->forked();
}

std::uint64_t link_core::outstanding() const noexcept {
  metrics mine;
  add_counters_to(mine);
  return mine.operations;
}

void link_core::add_counters_to(metrics& sum) const noexcept {
  for (const auto* side : {&realtime_, &data_}) {
    const auto& from = side->counters();
    sum.operations += from.operations_begun - std::min<std::uint64_t>(from.operations_ended, from.operations_begun);
    for (std::size_t i = 0; i < lane_count; ++i) {
      const auto& lane = from.lanes[i];
      sum.lanes[i] += {lane.slices_sent, lane.bytes_sent, lane.bytes_delivered, lane.bytes_received};
    }
    sum.slices_resent += from.slices_resent;
    sum.slices_verified += from.slices_verified;
    sum.slices_refused += from.slices_refused;
    sum.slices_dropped += from.slices_dropped;
    sum.messages_sent += from.messages_sent;
    sum.messages_repeated += from.messages_repeated;
    sum.forced_fences += from.forced_fences;
    sum.collateral += from.collateral;
    sum.operations_failed += from.operations_failed;
  }
}

error link_core::end_reason() const {
  const std::lock_guard lock(end_mutex_);
  return end_;
}

void link_core::want_channel(wire::place at) {
  with_session([at](links::session& session) { session.want_channel(at); });
}

void link_core::channel_lost(wire::place at, std::uint32_t epoch, const error& why) {
  fabric_->log().debug("{}: channel {} of {} lost: {}", peer(), epoch, to_text(at), why.where());
  with_session([self = shared_from_this(), at, epoch, why](links::session& session) {
    self->blame_rail(at, epoch, why);
    if (self->carrier_of(at).epoch == epoch) self->carrier_of(at) = {};
    session.channel_lost(at, epoch);
  });
}

void link_core::break_off(const error& how) {
  // Posted, not run: the engine that says so is still on the stack.
  thread_.post([self = shared_from_this(), how] {
    self->with_session([self, how](links::session&) { self->end_link(how.code(), how); });
  });
}

void link_core::close() {
  with_session([self = shared_from_this()](links::session& session) {
    session.close(errc::closed);
    self->finish(error(errc::closed));
  });
}

void link_core::connect(linked_handler done) {
  on_linked_ = std::move(done);
  thread_.touch(shared_from_this());
  session_.start();
}

void link_core::give_up_connecting(const error& why) {
  if (!on_linked_) return;
  with_session([self = shared_from_this(), why](links::session&) { self->end_link(errc::cancelled, why); });
}

void link_core::accept(boost::asio::ip::tcp::socket control, const wire::hello& peer) {
  hand_over(std::move(control), thread_, [self = shared_from_this(), peer](boost::asio::ip::tcp::socket moved) {
    self->accept_here(std::move(moved), peer);
  });
}

void link_core::accept_here(boost::asio::ip::tcp::socket control, const wire::hello& peer) {
  error_code ignored;
  const auto from = control.remote_endpoint(ignored);
  auto connection = std::make_shared<path::tcp::channel>(std::move(control), control_lane, peer.session_epoch,
                                                         static_cast<path::listener&>(*this), *this);
  thread_.touch(shared_from_this());
  if (session_.state() == links::session_state::idle) {
    control_ = connection;
    session_.start();
  } else {
    next_control_ = connection;
    if (!session_.resumed(peer)) {
      next_control_.reset();
      connection->close();
      return;
    }
  }
  remote_ = from;
  connection->start();
}

void link_core::accept_channel(boost::asio::ip::tcp::socket socket, const wire::channel_hello& hello) {
  hand_over(std::move(socket), thread_, [self = shared_from_this(), hello](boost::asio::ip::tcp::socket moved) {
    self->accept_channel_here(std::move(moved), hello);
  });
}

void link_core::accept_channel_here(boost::asio::ip::tcp::socket socket, const wire::channel_hello& hello) {
  if (!session_.may_open(hello.at, hello.epoch)) return path::tcp::refuse(std::move(socket), errc::path_failed);
  thread_.touch(shared_from_this());
  session_.channel_opened(hello.at, hello.epoch);
  auto& side = side_of(hello.at.carries);
  hand_over(std::move(socket), side.on(), [self = side.self(), hello](boost::asio::ip::tcp::socket moved) {
    self->on().touch(self);
    self->adopt_connection(std::move(moved), hello.at, hello.epoch, true);
  });
}

void link_core::flush_channels() {
  if (control_) control_->flush();
  set_timer();
}

void link_core::set_timer() {
  timer_.wait_until(session_.next_due(), [self = shared_from_this()] {
    self->batch_begins();
    self->session_.tick();
    self->batch_ends();
  });
}

void link_core::dial_session() {
  auto dialled = [self = shared_from_this()](const error& failure, boost::asio::ip::tcp::socket socket) {
    self->batch_begins();
    if (self->session_.state() != links::session_state::dialling) {
      // It was given up meanwhile.
    } else if (failure.code() != errc{}) {
      self->session_.disconnected(failure);
    } else {
      error_code ignored;
      self->remote_ = socket.remote_endpoint(ignored);
      self->local_ = socket.local_endpoint(ignored);
      self->control_ = std::make_shared<path::tcp::channel>(std::move(socket), control_lane, 0,
                                                            static_cast<path::listener&>(*self), *self);
      self->control_->start();
      self->session_.connected();
    }
    self->batch_ends();
  };
  stop_dialling_ = path::tcp::dial(thread_.executor(), address_, fabric_->limits().connect_timeout, fabric_->limits(),
                                   std::move(dialled));
}

void link_core::drop_session() {
  if (control_) {
    control_->flush();
    control_->close();
  }
  control_ = std::exchange(next_control_, nullptr);
  if (auto stop = std::exchange(stop_dialling_, nullptr)) stop();
}

void link_core::send(const wire::frame_header& header, std::span<const std::byte> body) {
  if (!control_) return;
  auto complete = header;
  complete.body_length = static_cast<std::uint32_t>(body.size());
  std::ignore = control_->post_message(complete, body);
}

void link_core::dial_connection(wire::place at, std::uint32_t epoch) {
  carrier_of(at) = {epoch, std::nullopt, true, clock::now()};
  auto& side = side_of(at.carries);
  const wire::channel_hello hello{session_.mine().session, at, epoch};
  side.run([self = shared_from_this(), &side, hello, to = remote_](links::engine&) {
    path::tcp::dial_channel(
        side.on().executor(), to, hello, self->fabric_->limits().connect_timeout, self->fabric_->limits(),
        [self, &side, hello](const error& failure, boost::asio::ip::tcp::socket socket) {
          if (failure.code() == errc::peer_restarted) return self->break_off(failure);
          if (failure.code() != errc{}) return self->channel_lost(hello.at, hello.epoch, failure);
          self->with_session([hello](links::session& session) { session.channel_opened(hello.at, hello.epoch); });
          side.batch_begins();
          side.adopt_connection(std::move(socket), hello.at, hello.epoch, false);
          side.batch_ends();
        });
  });
}

void link_core::drop_channel(wire::place at, std::uint32_t epoch) {
  auto& side = side_of(at.carries);
  side.run([&side, at, epoch](links::engine&) { side.drop(at, epoch); });
}

void link_core::linked() {
  peer_ = session_.peer().name;
  peer_incarnation_ = session_.peer().incarnation;
  if (const auto refused = learn_rails(session_.peer()); refused.code() != errc{}) {
    return break_off(refused);
  }
  // The accepting end has settled this before it answered.
  if (!on_linked_) return tell_linked();
  fabric_->claim_name(shared_from_this(), [self = shared_from_this()](errc refusal) {
    self->thread_.post([self, refusal] {
      self->with_session([self, refusal](links::session&) {
        if (!self->alive()) return;
        if (refusal == errc{}) return self->tell_linked();
        self->end_link(refusal, error(refusal, fmt::format("another live process is known as '{}'", self->peer_)));
      });
    });
  });
}

void link_core::tell_linked() {
  fabric_->log().info("linked with {}", peer_);
  if (auto done = std::exchange(on_linked_, nullptr)) done({});
}

void link_core::probe(std::function<void(bool lives)> told) {
  with_session([self = shared_from_this(), told = std::move(told)](links::session& session) mutable {
    self->probes_.push_back(std::move(told));
    session.probe();
  });
}

void link_core::probed(bool lives) {
  // Not from inside the session, which they may end.
  for (auto& told : std::exchange(probes_, {})) thread_.post([told = std::move(told), lives] { told(lives); });
}

void link_core::end_as(errc reason) {
  with_session(
      [self = shared_from_this(), reason](links::session&) { self->end_link(reason, error(reason, self->peer_)); });
}

/// `told`: what the peer hears.
void link_core::end_link(errc told, const error& why) {
  session_.close(told);
  ended(why);
}

void link_core::ended(const error& why) {
  if (!alive()) return;
  fabric_->log().info("link with {} ended: {}", peer(), why.message());
  if (why.code() == errc::protocol_error && !peer().empty()) fabric_->link_broken(); // one that was linked
  finish(why);
}

void link_core::finish(const error& why) {
  if (alive()) {
    {
      const std::lock_guard lock(end_mutex_);
      end_ = why;
    }
    alive_.store(false, std::memory_order_release);
    fabric_->link_ended(*this);
  }
  drop_session();
  timer_.cancel();
  better_timer_.cancel();
  for (const auto& each : path_probes_) {
    if (const auto running = each.lock()) running->end();
  }
  const auto both = std::move(unfenced_); // the second side to end lets go of it
  for (auto* side : {&realtime_, &data_}) side->run([side, why, both](links::engine&) { side->end(why, both); });
  if (auto linked = std::exchange(on_linked_, nullptr)) linked(why);
}

void link_core::frame_arrived(wire::place, const wire::frame_header& header, std::span<const std::byte> body) {
  session_.frame_arrived(header, body);
}

void link_core::slice_began(wire::place, const wire::frame_header&) {
  break_off(error(errc::protocol_error, "slice on the session"));
}

void link_core::batch_begins() {
  thread_.begin();
  thread_.touch(shared_from_this());
}

void link_core::batch_ends() {
  thread_.end();
}

void link_core::channel_failed(wire::place, std::uint32_t, const error& why) {
  control_.reset();
  // Whoever closes before it answered does not speak our protocol, or does not want to.
  const bool greeting = session_.state() == links::session_state::greeting;
  session_.disconnected(
      greeting && why.code() == errc::path_failed
          ? error(errc::not_weft, fmt::format("{}:{}: closed before it answered", address_.host, address_.port))
          : why);
}

} // namespace weft::fabrics
