// A link's queue pairs: which of the peer's rails a lane's channel is dialled at, and when it goes over TCP instead.
#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {

void link_core::dial_channel(lane on, std::uint32_t epoch) {
  if (auto* over = rail_for(on)) return dial_queue_pair(on, epoch, *over);
  if (fabric_->limits().transport != transport_choice::verbs) return dial_connection(on, epoch);
  thread_.post([self = shared_from_this(), on, epoch] {
    self->channel_lost(on, epoch, error(errc::no_path, "no RDMA rail of the peer can be reached now"));
  });
}

/// The rails of the peer that queue pairs of this link may lead to; both ends hear of the other's in its hello.
/// Success, or why there can be no link.
error link_core::learn_rails(const wire::hello& peer) {
  const bool here = fabric_->rdma() != nullptr && !fabric_->rdma()->offered().empty();
  if (here) {
    for (const auto& each : peer.rails) peer_rails_.push_back({from_wire(each), 0, {}});
  }
  if (peer_rails_.empty()) {
    const auto why = fmt::format("{} has no RDMA rail", here ? peer.name : "this process");
    if (fabric_->limits().transport == transport_choice::verbs) {
      fabric_->log().warning("{}: no link: transport=verbs, and {}", peer.name, why);
      return {errc::no_path, fmt::format("transport=verbs, and {}", why)};
    }
    if (here || !peer.rails.empty()) fabric_->log().info("{}: tcp is used: {}", peer.name, why);
    return {};
  }
  for (auto* side : {&realtime_, &data_}) side->run([](links::engine& engine) { engine.name_memory(true); });
  return {};
}

std::size_t link_core::rails_in_reach() const {
  const auto now = clock::now();
  return static_cast<std::size_t>(std::count_if(peer_rails_.begin(), peer_rails_.end(),
                                                [now](const peer_rail& each) { return each.retry_at <= now; }));
}

/// Links spread over the rails, and the lanes of a link too; a rail that failed is left out for a while.
link_core::peer_rail* link_core::rail_for(lane on) {
  const auto count = peer_rails_.size();
  const auto first = static_cast<std::size_t>(id().high) + static_cast<std::size_t>(on);
  for (std::size_t i = 0; i < count; ++i) {
    auto& each = peer_rails_[(first + i) % count];
    if (each.retry_at <= clock::now()) return &each;
  }
  return nullptr;
}

void link_core::dial_queue_pair(lane on, std::uint32_t epoch, peer_rail& over) {
  const auto& limits = fabric_->limits();
  path::verbs::greeting said{.session = id(), .carries = on, .epoch = epoch};
  unproven_[static_cast<std::size_t>(on)] = {epoch, static_cast<std::size_t>(&over - peer_rails_.data())};
  // All of them together get the time of one connection.
  const auto limit = limits.connect_timeout / std::max<std::size_t>(rails_in_reach(), 1);
  fabric_->rdma()->connections()->dial(
      over.at, said, limit, fabric_->rdma()->queues_of(side_of(on).on(), on),
      [self = shared_from_this(), on, epoch](const error& failure, std::unique_ptr<path::verbs::endpoint> connected) {
        if (failure.code() != errc{}) return self->channel_lost(on, epoch, failure);
        self->with_session([on, epoch](links::session& session) { session.channel_opened(on, epoch); });
        self->adopt_queue_pair(on, epoch, std::move(connected));
      });
}

void link_core::adopt_queue_pair(lane on, std::uint32_t epoch, std::unique_ptr<path::verbs::endpoint> connected) {
  auto& side = side_of(on);
  side.run(
      [self = shared_from_this(), &side, on, epoch, connected = std::move(connected)](links::engine& engine) mutable {
        const auto connections = self->fabric_->rdma()->connections();
        auto* endpoint = connected.get();
        const auto thread = side.on().executor();
        const auto channel = std::make_shared<path::verbs::channel>(
            std::move(connected), thread, on, epoch, engine, side,
            [connections, thread](std::unique_ptr<path::verbs::endpoint> used, std::function<void()> done) {
              connections->dispose(std::move(used), thread, std::move(done));
            },
            self->fabric_->limits());
        side.adopt(on, channel, [self, on, epoch, channel, connections, endpoint] {
          self->fabric_->log().debug("{}: lane {} goes over rail {} to {} (channel {}, queue pair {})", self->peer(),
                                     name(on), endpoint->shared->on().name, endpoint->peer_address, epoch,
                                     endpoint->pair->qp_num);
          channel->attach();
          connections->confirm(*endpoint);
        });
      });
}

void link_core::accept_queue_pair(std::shared_ptr<path::verbs::connector::request> request) {
  with_session([self = shared_from_this(), request](links::session& session) {
    const auto on = request->said().carries;
    const auto epoch = request->said().epoch;
    if (!session.may_open(on, epoch)) return request->refuse();
    session.channel_opened(on, epoch);
    request->accept(self->fabric_->rdma()->queues_of(self->side_of(on).on(), on),
                    [self, on, epoch](const error& failure, std::unique_ptr<path::verbs::endpoint> connected) {
                      if (failure.code() != errc{}) return self->channel_lost(on, epoch, failure);
                      self->adopt_queue_pair(on, epoch, std::move(connected));
                    });
  });
}

void link_core::queue_pair_proven(lane on, std::uint32_t epoch) {
  with_session([self = shared_from_this(), on, epoch](links::session&) {
    auto& waiting = self->unproven_[static_cast<std::size_t>(on)];
    if (waiting.epoch != epoch) return;
    waiting.epoch = 0;
    self->peer_rails_[waiting.rail].failures = 0;
    self->says_tcp_ = true;
  });
}

/// A queue pair that carried nothing speaks against its rail: the connection manager reaches more than data does.
void link_core::blame_rail(lane on, std::uint32_t epoch, const error& why) {
  auto& waiting = unproven_[static_cast<std::size_t>(on)];
  if (epoch == 0 || waiting.epoch != epoch) return;
  waiting.epoch = 0;
  auto& rail = peer_rails_[waiting.rail];
  const auto& limits = fabric_->limits();
  // Not before all the others had their turn.
  const auto pause = limits.connect_timeout * (std::int64_t{1} << std::min(rail.failures++, 6U));
  rail.retry_at = deadline_after(clock::now(), pause);
  const bool tcp_next = rails_in_reach() == 0 && limits.transport == transport_choice::any;
  if (tcp_next && std::exchange(says_tcp_, false)) {
    fabric_->log().warning("{}: no RDMA path, tcp is used: {}", peer(), why.message());
  }
}

} // namespace weft::fabrics
