// A link's queue pairs: which of the peer's rails a lane's channel is dialled at, and when it goes over TCP instead.
#include "fabric/fabric_core.hpp"
#include "fabric/link_core.hpp"
#include "path/address.hpp"

#include "weft/units.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {

namespace {

/// What came back counts as there to stay after so many times the time of a connection.
constexpr std::int64_t settled = 64;

} // namespace

void link_core::dial_channel(wire::place at, std::uint32_t epoch) {
  if (auto* over = rail_for(at)) {
    dial_queue_pair(at, epoch, *over);
    return look_for_better();
  }
  tried_[at.index()].reset();
  if (fabric_->limits().transport != transport_choice::verbs) {
    dial_connection(at, epoch);
    return look_for_better();
  }
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
    first_addresses_ = static_cast<std::size_t>(std::ranges::count(peer_rails_, 0U, &peer_rail::turn));
  }
  if (peer_rails_.empty()) {
    const auto why = fmt::format("{} has no RDMA rail", here ? peer.name : "this process");
    if (fabric_->limits().transport == transport_choice::verbs) {
      fabric_->log().warning("{}: no link: transport=verbs, and {}", peer.name, why);
      return {errc::no_path, fmt::format("transport=verbs, and {}", why)};
    }
    if (!here && peer.rails.empty()) return {};
    if (fabric_->limits().transport == transport_choice::tcp) return {}; // as it was told
    fabric_->fell_back_to_tcp();
    fabric_->log().info("{}: tcp is used: {}", peer.name, why);
    return {};
  }
  for (auto* side : {&realtime_, &data_}) side->run([](links::engine& engine) { engine.name_memory(true); });
  return {};
}

/// Links spread over the rails, and so do the lanes of a link and the places of a lane; another address of a rail is
/// for when none of the first ones leads there.
std::size_t link_core::choice(wire::place at, std::size_t rank) const noexcept {
  const auto first = static_cast<std::size_t>(id().high) + static_cast<std::size_t>(at.carries) + at.number;
  return rank < first_addresses_ ? (first + rank) % first_addresses_ : rank;
}

/// One that failed is left out for a while, and by this place until it has tried all others.
link_core::peer_rail* link_core::rail_for(wire::place at) {
  for (std::size_t i = 0; i < peer_rails_.size(); ++i) {
    const auto which = choice(at, i);
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
  auto& tried = tried_[at.index()];
  tried.set(*of.rail);
  if (of.proven) {
    // It may have broken, or was given up for a transfer's sake: another one first, if there is one.
    if (rail_for(at) == nullptr) tried.reset(*of.rail);
    return;
  }
  // What several lanes dialled before one of them failed says the same.
  if (of.dialled_at >= rail.blamed_at) put_off(rail);
  if (rail_for(at) != nullptr || !std::exchange(says_no_rail_, false)) return;
  const bool tcp_next = limits.transport == transport_choice::any;
  if (tcp_next) fabric_->fell_back_to_tcp();
  fabric_->log().warning("{}: no RDMA path, {}: {}", peer(),
                         tcp_next ? "tcp is used" : "and transport=verbs: operations wait for one", why.message());
}

/// It leads nowhere now. Each time so soon after it had come back it is left alone for longer.
void link_core::put_off(peer_rail& rail) {
  const auto now = clock::now();
  const auto pause = fabric_->limits().connect_timeout;
  rail.blamed_at = now;
  const auto returned = std::exchange(rail.returned_at, {});
  const bool flapped = returned != time_point{} && now - returned < settled * pause;
  if (returned != time_point{}) rail.flaps = flapped ? rail.flaps + 1 : 0;
  const auto left_alone = pause * (std::int64_t{1} << std::min(rail.failures++ + rail.flaps, 6U));
  rail.retry_at = deadline_after(now, left_alone);
  if (!flapped) return;
  const auto in_ms = [](duration time) { return format_duration(std::chrono::floor<std::chrono::milliseconds>(time)); };
  fabric_->log().info("{}: {} had come back for {}, and is left alone for {}", peer(), path::to_text(rail.at.at),
                      in_ms(now - returned), in_ms(left_alone));
}

// Going back. A rail that failed is tried by a queue pair of its own; what goes another way meanwhile is moved to it
// only then.

/// Whether a place would have that rail in place of what it has.
bool link_core::prefers(wire::place at, std::size_t rail) const noexcept {
  const auto& of = carriers_[at.index()];
  if (of.epoch == 0) return false; // it is going to choose
  for (std::size_t i = 0; i < peer_rails_.size(); ++i) {
    const auto which = choice(at, i);
    if (which == rail) return of.rail != rail;
    if (which == of.rail) return false;
  }
  return false;
}

/// Tries the first rail that a place would rather have, one at a time. The links that an outage met do not come at
/// once.
void link_core::look_for_better() {
  if (looks_ || !alive()) return;
  const auto now = clock::now();
  const auto pause = fabric_->limits().connect_timeout;
  const auto of_this_link = pause / 256 * static_cast<std::int64_t>(id().low % 64);
  const bool established = session_.state() == links::session_state::established;
  auto next = time_point::max();
  for (std::size_t rail = 0; rail < peer_rails_.size(); ++rail) {
    auto due = time_point::max();
    for (std::uint32_t i = 0; i < wire::place_count; ++i) {
      const auto at = wire::place::at(i);
      if (prefers(at, rail)) due = std::min(due, deadline_after(carrier_of(at).dialled_at, pause));
    }
    if (due == time_point::max()) continue;
    due = deadline_after(std::max(due, peer_rails_[rail].retry_at), of_this_link);
    if (!established) due = std::max(due, deadline_after(now, pause)); // nothing can be moved meanwhile
    next = std::min(next, due);
    if (due > now) continue;
    looks_ = true;
    return probe_rail(rail, [self = shared_from_this(), rail](const error& failure, const std::string&) {
      self->with_session([self, rail, failure](links::session&) {
        if (!self->alive()) return;
        if (failure.code() == errc{}) {
          self->go_back_to(rail);
        } else {
          self->put_off(self->peer_rails_[rail]);
        }
        self->looks_ = false;
        self->look_for_better();
      });
    });
  }
  if (next == time_point::max()) return;
  better_timer_.wait_until(
      next, [self = shared_from_this()] { self->with_session([&self](links::session&) { self->look_for_better(); }); });
}

void link_core::go_back_to(std::size_t rail) {
  auto& of = peer_rails_[rail];
  of.retry_at = of.returned_at = clock::now();
  std::size_t moved = 0;
  for (std::uint32_t i = 0; i < wire::place_count; ++i) {
    const auto at = wire::place::at(i);
    if (!prefers(at, rail)) continue;
    // Those before it are not known to carry anything: they are tried by themselves too.
    auto& tried = tried_[i];
    for (std::size_t rank = 0; choice(at, rank) != rail; ++rank) tried.set(choice(at, rank));
    tried.reset(rail);
    if (session_.replace_channel(at)) ++moved;
  }
  if (moved == 0) return;
  fabric_->log().info("{}: {} leads there again: {} channels go back to it", peer(), path::to_text(of.at.at), moved);
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

/// `done` hears on the link's thread, unless the fabric closes.
void link_core::probe_rail(std::size_t rail, path_probe::told done) {
  const auto probe = make_path_probe(std::move(done));
  if (!probe) return;
  const path::verbs::greeting said{.session = id(), .at = lane::standard, .probes = true, .epoch = 1};
  fabric_->rdma()->connections()->dial(
      peer_rails_[rail].at, said, fabric_->limits().connect_timeout,
      fabric_->rdma()->queues_of(thread_, lane::standard),
      [self = shared_from_this(), probe](const error& failure, std::unique_ptr<path::verbs::endpoint> made) {
        self->thread_.run(
            [probe, failure, made = std::move(made)]() mutable { probe->begin(failure, std::move(made)); });
      });
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
      self->probe_rail(i, [self, all, found, begun, i](const error& failure, const std::string& rail) {
        auto& path = (*found)[i];
        path.from = rail;
        path.took = clock::now() - begun;
        path.works = failure.code() == errc{};
        path.why_not = path.works ? "" : failure.message();
        path.lanes = self->lanes_over(i);
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
