// A simulated process: its name and incarnation, its endpoints, and the connections that arrive at it. May be frozen,
// killed and started again. `world` holds all of them and connects them. Owned by the scenario; one thread.
#pragma once

#include "buffer.hpp"
#include "coverage.hpp"
#include "endpoint.hpp"

#include <map>
#include <optional>
#include <vector>

namespace weft::sim {

class world;

class node final : public path::sim::end_owner {
public:
  node(world& within, std::string called);

  /// A new link to `peer`.
  std::shared_ptr<endpoint> link_to(const std::string& peer, bool one_sided);
  /// The newest endpoint towards `peer` that is not over; null where there is none.
  [[nodiscard]] std::shared_ptr<endpoint> towards(const std::string& peer) const;
  [[nodiscard]] const std::vector<std::shared_ptr<endpoint>>& endpoints() const noexcept { return endpoints_; }

  void freeze();
  void thaw();
  /// Dies, with all that it had, and starts anew.
  void restart();
  /// Runs `what` now, or as soon as the process runs again; never when it dies before.
  void when_running(std::function<void()> what);
  [[nodiscard]] bool frozen() const noexcept { return frozen_; }
  [[nodiscard]] time_point thawed_at() const noexcept { return thawed_at_; }

  /// A connection attempt arrived.
  void accept(const end_pointer& arriving);

  void enter() override {}
  void leave() override {}
  void frame_arrived(path::sim::end& at, const wire::frame_header& header, std::span<const std::byte> body) override;
  void lost(path::sim::end& at) override;
  void closed(path::sim::end&) override {}
  const memory::piece_list* granted(path::sim::end&, std::uint64_t) override { return nullptr; }

  world& in;
  const std::string name;
  id128 incarnation;
  bool refuses_dials = false;

private:
  std::vector<std::shared_ptr<endpoint>> endpoints_;
  std::vector<end_pointer> greeting_; ///< accepted, and not heard of yet
  std::vector<std::function<void()>> deferred_;
  bool frozen_ = false;
  std::uint64_t life_ = 0;
  time_point thawed_at_{};
};

/// The network and all that is connected to it.
class world {
public:
  explicit world(std::uint64_t seed);
  /// While all is there that what is to happen keeps: a scenario that failed is left in the middle.
  ~world() { time.drop(); }
  world(const world&) = delete;
  world& operator=(const world&) = delete;

  /// Connects `from` to the process of that name: calls `then` with the new end, or with null when there is none. `at`:
  /// the place of a channel; none: it is for the session.
  void dial(node& from, const std::string& to, std::optional<wire::place> at, bool one_sided,
            std::function<void(end_pointer)> then);
  void note(const std::string& what);
  void failed(const std::string& what);

  path::sim::timeline time;
  random_source random;
  buffers memory;
  path::sim::environment network;
  path::sim::wire_terms terms;           ///< of channels
  std::vector<std::uint64_t> rail_rates; ///< bytes per second of a lane's channels, in turn; none: as terms say
  double cuts_dials = 0;                 ///< probability that a new connection breaks within its first moments
  tunables limits;
  service* serves = nullptr;
  std::map<std::string, node> nodes;
  coverage met;
  bool traces = false;
  std::string failure; ///< the first broken promise; empty when all hold
};

} // namespace weft::sim
