// A link's queue pairs: which of the peer's rails a lane's channel is dialled at, and when it goes over TCP instead.
#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"
#include "path/address.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {

void link_core::dial_channel(wire::place at, std::uint32_t epoch) {
  if (auto* over = rail_for(at)) return dial_queue_pair(at, epoch, *over);
  tried_[at.index()].reset();
  if (fabric_->limits().transport != transport_choice::verbs) return dial_connection(at, epoch);
  thread_.post([self = shared_from_this(), at, epoch] {
    self->channel_lost(at, epoch, error(errc::no_path, "no RDMA rail of the peer can be reached now"));
  });
}

/// The rails of the peer that queue pairs of this link may lead to; both ends hear of the other's in its hello.
/// Success, or why there can be no link.
error link_core::learn_rails(const wire::hello& peer) {
  const bool here = fabric_->rdma() != nullptr && !fabric_->rdma()->offered().empty();
  if (here) {
    for (const auto& each : peer.rails) peer_rails_.push_back({.at = from_wire(each)});
    // Of each rail an address of the session's kind first: that is routed between the two.
    std::stable_partition(
        peer_rails_.begin(), peer_rails_.end(),
        [v6 = remote_.address().is_v6()](const peer_rail& each) { return each.at.at.address().is_v6() == v6; });
    // The first address of every rail, then their second ones: what follows a rail that fails is another one.
    std::array<std::size_t, wire::most_rails> addresses{};
    for (auto& each : peer_rails_) each.turn = addresses[each.at.rail]++;
    std::ranges::stable_sort(peer_rails_, {}, &peer_rail::turn);
  }
  if (peer_rails_.empty()) {
    const auto why = fmt::format("{} has no RDMA rail", here ? peer.name : "this process");
    if (fabric_->limits().transport == transport_choice::verbs) {
      fabric_->log().warning("{}: no link: transport=verbs, and {}", peer.name, why);
      return {errc::no_path, fmt::format("transport=verbs, and {}", why)};
    }
    if (!here && peer.rails.empty()) return {};
    fabric_->fell_back_to_tcp();
    fabric_->log().info("{}: tcp is used: {}", peer.name, why);
    return {};
  }
  for (auto* side : {&realtime_, &data_}) side->run([](links::engine& engine) { engine.name_memory(true); });
  return {};
}

/// Links spread over the rails, and so do the lanes of a link and the places of a lane; another address of a rail is
/// for when none of the first ones leads there. One that failed is left out for a while, and by this place until it has
/// tried all others.
link_core::peer_rail* link_core::rail_for(wire::place at) {
  const auto rails = static_cast<std::size_t>(std::ranges::count(peer_rails_, 0U, &peer_rail::turn));
  const auto first = static_cast<std::size_t>(id().high) + static_cast<std::size_t>(at.carries) + at.number;
  for (std::size_t i = 0; i < peer_rails_.size(); ++i) {
    const auto which = i < rails ? (first + i) % rails : i;
    auto& each = peer_rails_[which];
    if (!tried_[at.index()].test(which) && each.retry_at <= clock::now()) return &each;
  }
  return nullptr;
}

void link_core::dial_queue_pair(wire::place at, std::uint32_t epoch, peer_rail& over) {
  const auto& limits = fabric_->limits();
  path::verbs::greeting said{.session = id(), .at = at, .epoch = epoch};
  carrier_of(at) = {epoch, static_cast<std::size_t>(&over - peer_rails_.data()), false, clock::now()};
  // All of them together get the time of one connection.
  const auto limit = limits.connect_timeout / peer_rails_.size();
  fabric_->rdma()->connections()->dial(
      over.at, said, limit, fabric_->rdma()->queues_of(side_of(at.carries).on(), at.carries),
      [self = shared_from_this(), at, epoch](const error& failure, std::unique_ptr<path::verbs::endpoint> connected) {
        if (failure.code() != errc{}) return self->channel_lost(at, epoch, failure);
        self->with_session([at, epoch](links::session& session) { session.channel_opened(at, epoch); });
        self->adopt_queue_pair(at, epoch, std::move(connected));
      });
}

void link_core::adopt_queue_pair(wire::place at, std::uint32_t epoch,
                                 std::unique_ptr<path::verbs::endpoint> connected) {
  auto& side = side_of(at.carries);
  side.run(
      [self = shared_from_this(), &side, at, epoch, connected = std::move(connected)](links::engine& engine) mutable {
        const auto connections = self->fabric_->rdma()->connections();
        auto* endpoint = connected.get();
        const auto thread = side.on().executor();
        const auto channel = std::make_shared<path::verbs::channel>(
            std::move(connected), thread, at, epoch, engine, side,
            [connections, thread](std::unique_ptr<path::verbs::endpoint> used, std::function<void()> done) {
              connections->dispose(std::move(used), thread, std::move(done));
            },
            self->fabric_->limits());
        side.adopt(at, channel, endpoint->shared->on().addresses.front(),
                   [self, at, epoch, channel, connections, endpoint] {
                     self->fabric_->log().debug("{}: {} goes over rail {} to {} (channel {}, queue pair {})",
                                                self->peer(), to_text(at), endpoint->shared->on().name,
                                                endpoint->peer_address, epoch, endpoint->pair->qp_num);
                     channel->attach();
                     connections->confirm(*endpoint);
                   });
      });
}

void link_core::accept_queue_pair(std::shared_ptr<path::verbs::connector::request> request) {
  with_session([self = shared_from_this(), request](links::session& session) {
    if (request->said().probes) return self->answer_path_probe(request);
    const auto at = request->said().at;
    const auto epoch = request->said().epoch;
    if (!session.may_open(at, epoch)) return request->refuse();
    session.channel_opened(at, epoch);
    request->accept(self->fabric_->rdma()->queues_of(self->side_of(at.carries).on(), at.carries),
                    [self, at, epoch](const error& failure, std::unique_ptr<path::verbs::endpoint> connected) {
                      if (failure.code() != errc{}) return self->channel_lost(at, epoch, failure);
                      self->adopt_queue_pair(at, epoch, std::move(connected));
                    });
  });
}

void link_core::queue_pair_proven(wire::place at, std::uint32_t epoch) {
  with_session([self = shared_from_this(), at, epoch](links::session&) {
    auto& of = self->carrier_of(at);
    if (of.epoch != epoch || !of.rail) return;
    of.proven = true;
    self->tried_[at.index()].reset();
    self->peer_rails_[*of.rail].failures = 0;
    self->says_no_rail_ = true;
  });
}

/// A queue pair is lost. One that carried nothing speaks against its rail: the connection manager reaches more
/// than data does.
void link_core::blame_rail(wire::place at, std::uint32_t epoch, const error& why) {
  const auto& of = carrier_of(at);
  if (of.epoch != epoch || !of.rail) return;
  auto& rail = peer_rails_[*of.rail];
  const auto& limits = fabric_->limits();
  const auto now = clock::now();
  auto& tried = tried_[at.index()];
  tried.set(*of.rail);
  if (of.proven) {
    // It may have broken, or was given up for a transfer's sake: another one first, if there is one.
    if (rail_for(at) == nullptr) tried.reset(*of.rail);
    return;
  }
  // What several lanes dialled before one of them failed says the same.
  if (of.dialled_at >= rail.blamed_at) {
    rail.blamed_at = now;
    rail.retry_at = deadline_after(now, limits.connect_timeout * (std::int64_t{1} << std::min(rail.failures++, 6U)));
  }
  if (rail_for(at) != nullptr || !std::exchange(says_no_rail_, false)) return;
  const bool tcp_next = limits.transport == transport_choice::any;
  if (tcp_next) fabric_->fell_back_to_tcp();
  fabric_->log().warning("{}: no RDMA path, {}: {}", peer(),
                         tcp_next ? "tcp is used" : "and transport=verbs: operations wait for one", why.message());
}

// What `weft doctor` asks.

std::vector<lane> link_core::lanes_over(std::optional<std::size_t> rail) {
  std::vector<lane> lanes;
  for (std::size_t i = 0; i < lane_count; ++i) {
    const auto on = static_cast<lane>(i);
    const auto most = wire::most_channels_of(on);
    const auto wanted = links::engine::channels_of(fabric_->limits(), on);
    bool uses = false;
    for (std::uint8_t number = 0; number < most; ++number) {
      const wire::place at{on, number};
      const auto& of = carrier_of(at);
      if (of.epoch == 0 && number >= wanted) continue;
      auto way = of.rail;
      if (const auto* next = of.epoch == 0 ? rail_for(at) : nullptr) {
        way = static_cast<std::size_t>(next - peer_rails_.data());
      }
      uses |= way == rail;
    }
    if (uses) lanes.push_back(on);
  }
  return lanes;
}

/// Null: the fabric closes.
std::shared_ptr<path_probe> link_core::make_path_probe(path_probe::told done) {
  std::erase_if(path_probes_, [](const auto& each) { return each.expired(); });
  auto held = fabric_->hold_close();
  if (!held) return nullptr;
  auto made = std::make_shared<path_probe>(thread_, fabric_->rdma()->connections(), fabric_->limits(), std::move(held),
                                           std::move(done));
  path_probes_.push_back(made);
  return made;
}

void link_core::answer_path_probe(const std::shared_ptr<path::verbs::connector::request>& request) {
  const auto probe = make_path_probe(nullptr);
  if (!probe || !alive() || path_probes_.size() > wire::most_rail_addresses) return request->refuse();
  request->accept(
      fabric_->rdma()->queues_of(thread_, lane::standard),
      [self = shared_from_this(), probe](const error& failure, std::unique_ptr<path::verbs::endpoint> made) {
        self->thread_.run(
            [probe, failure, made = std::move(made)]() mutable { probe->begin(failure, std::move(made)); });
      });
}

void link_core::inspect_paths(inspected done) {
  with_session([self = shared_from_this(), done = std::move(done)](links::session&) {
    const auto& limits = self->fabric_->limits();
    const auto found = std::make_shared<std::vector<path_status>>();
    // The last to know drops it.
    const std::shared_ptr<void> all(nullptr, [self, found, done](void*) {
      self->thread_.post(
          [self, found, done] { done(self->alive() ? error() : self->end_reason(), std::move(*found)); });
    });
    if (!self->alive()) return;
    const auto begun = clock::now();
    for (const auto& each : self->peer_rails_) {
      found->push_back({.transport = "verbs", .from = {}, .to = path::to_text(each.at.at), .why_not = {}, .lanes = {}});
    }
    if (found->empty()) {
      const bool wanted = limits.transport != transport_choice::tcp;
      found->push_back({.transport = "verbs", .from = {}, .to = {}, .why_not = {}, .lanes = {}});
      found->back().why_not = !wanted                            ? "transport=tcp"
                              : self->fabric_->rdma() == nullptr ? "this host has no RDMA rail that can be used"
                                                                 : fmt::format("{} offers no RDMA rail", self->peer());
    }
    found->push_back({.transport = "tcp",
                      .from = path::to_text(self->local_),
                      .to = path::to_text(self->remote_),
                      .why_not = {},
                      .lanes = {}});
    for (std::size_t i = 0; i < self->peer_rails_.size(); ++i) {
      const auto probe =
          self->make_path_probe([self, all, found, begun, i](const error& failure, const std::string& rail) {
            auto& path = (*found)[i];
            path.from = rail;
            path.took = clock::now() - begun;
            path.works = failure.code() == errc{};
            path.why_not = path.works ? "" : failure.message();
            path.lanes = self->lanes_over(i);
          });
      if (!probe) return;
      const path::verbs::greeting said{.session = self->id(), .at = lane::standard, .probes = true, .epoch = 1};
      self->fabric_->rdma()->connections()->dial(
          self->peer_rails_[i].at, said, limits.connect_timeout,
          self->fabric_->rdma()->queues_of(self->thread_, lane::standard),
          [self, probe](const error& failure, std::unique_ptr<path::verbs::endpoint> made) {
            self->thread_.run(
                [probe, failure, made = std::move(made)]() mutable { probe->begin(failure, std::move(made)); });
          });
    }
    self->probe([self, all, found, begun](bool lives) {
      auto& path = found->back();
      path.took = clock::now() - begun;
      path.works = lives;
      path.lanes = self->lanes_over(std::nullopt);
      if (!lives) path.why_not = "the peer does not answer";
      if (lives && path.lanes.empty()) path.why_not = "verbs is preferred";
    });
  });
}

} // namespace weft::fabrics
