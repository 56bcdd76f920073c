// One end of a simulated link, as a process hosts it in production: a session, an engine and a rail for realtime,
// another pair for the other lanes, and the channels between. Owned by its node; everything runs on the scenario's
// thread.
#pragma once

#include "coverage.hpp"

#include "link/engine.hpp"
#include "link/session.hpp"
#include "path/sim/connection.hpp"

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace weft::sim {

class node;
class endpoint;
using end_pointer = std::shared_ptr<path::sim::end>;

/// Serves the operations that arrive at an endpoint.
class service {
public:
  virtual void arrived(endpoint& at, links::engine& in, const links::incoming& begun) = 0;

protected:
  ~service() = default;
};

class endpoint final : public path::sim::end_owner,
                       public std::enable_shared_from_this<endpoint>,
                       private links::session_host {
public:
  /// The dialling end.
  endpoint(node& in, std::string peer, bool one_sided);
  /// The accepting end: `greeting` came over `over`.
  endpoint(node& in, const wire::hello& greeting, end_pointer over, bool one_sided);
  ~endpoint();

  void start();
  /// Ends the link from this side.
  void close();
  /// The process died.
  void die();
  void pause(bool on);

  /// Runs `what` as a batch of events.
  void run(const std::function<void()>& what);
  [[nodiscard]] links::engine& engine_of(lane on) noexcept { return side_of(on).engine; }
  [[nodiscard]] bool over() const noexcept { return over_; }
  [[nodiscard]] bool dead() const noexcept { return dead_; }
  [[nodiscard]] node& host() const noexcept { return node_; }
  [[nodiscard]] const links::session& control() const noexcept { return session_; }
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  [[nodiscard]] std::size_t outstanding() const noexcept;
  /// The end of the channel that is up in this place, or null.
  [[nodiscard]] path::sim::end* channel(wire::place at) noexcept;
  [[nodiscard]] path::sim::end* session_end() noexcept { return session_end_.get(); }

  // Connections that arrived for this endpoint.
  [[nodiscard]] bool session_offered(const wire::hello& greeting, const end_pointer& over);
  void channel_offered(wire::place at, std::uint32_t epoch, const end_pointer& over);

  /// Something happens to an operation of this end now.
  void happens(event what, lane carries, links::operation_id id) { side_of(carries).happens(what, id); }
  /// One that this end began.
  void knows(lane carries, links::operation_id id) { side_of(carries).known.push_back({id, carries}); }
  /// Channels of the lane that went down here, ever.
  [[nodiscard]] std::uint32_t losses(lane of) const noexcept { return losses_[static_cast<std::size_t>(of)]; }

  /// What one-sided channels may write for a transfer of the peer's, and do: also after its end, as long as nothing
  /// fences them.
  void grant(lane carries, links::operation_id transfer, const memory::piece_list& pieces);

  // path::sim::end_owner
  void enter() override;
  void leave() override;
  void frame_arrived(path::sim::end& at, const wire::frame_header& header, std::span<const std::byte> body) override;
  void lost(path::sim::end& at) override;
  void closed(path::sim::end& at) override;
  const memory::piece_list* granted(path::sim::end& at, std::uint64_t transfer) override;

private:
  /// The engine of some lanes and its rails: the channels of a lane take turns on them. What channels tell the engine
  /// goes through here, and is counted.
  struct side final : links::host, path::listener {
    side(endpoint& owner, std::span<const lane> lanes, bool dialled);
    void open_channel(wire::place at) override { in.session_.want_channel(at); }
    void close_channel(wire::place at) override;
    void operation_arrived(const links::incoming& begun) override;
    void protocol_broken(const error& how) override;

    void frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) override;
    void slice_began(wire::place at, const wire::frame_header& header) override;
    std::size_t slice_space(wire::place at, std::span<iovec> out) override { return engine.slice_space(at, out); }
    void slice_grew(wire::place at, std::size_t bytes) override { engine.slice_grew(at, bytes); }
    void slice_landed(wire::place at, const wire::frame_header& header) override;
    void sent(wire::place at, std::uint64_t transfer) override;
    void landed(wire::place at, std::uint64_t marks) override { engine.landed(at, marks); }
    void writable(wire::place at) override { engine.writable(at); }

    struct known_operation {
      links::operation_id id;
      lane carries;
      std::optional<links::phase> before = {}; ///< what is done now
    };

    void happens(event what, links::operation_id id);
    void note_phases();
    /// To all of the lane that are not over; whose are over is forgotten.
    void happens_to_all(event what, lane of);
    void tick();

    endpoint& in;
    std::vector<known_operation> known;
    std::array<bool, wire::place_count> closing{}; ///< the engine wants these closed
    std::array<lanes::scheduler, 2> rails;         ///< with budgets, which in production realtime has not
    links::engine engine;
  };

  /// The channel in one place at this end.
  struct slot {
    end_pointer current;
    std::uint32_t epoch = 0;
    bool dialling = false; ///< from the dial until the answer
    bool up = false;
    std::uint64_t attempt = 0; ///< tells a late connection from the one that is awaited
    end_pointer next;          ///< came while the present one is being fenced
    std::uint32_t next_epoch = 0;
  };

  // links::session_host
  void dial_session() override;
  void drop_session() override;
  void send(const wire::frame_header& header, std::span<const std::byte> body) override;
  void dial_channel(wire::place at, std::uint32_t epoch) override;
  void drop_channel(wire::place at, std::uint32_t epoch) override;
  void linked() override {}
  void probed(bool) override {}
  void ended(const error& why) override;

  side& side_of(lane on) noexcept { return on == lane::realtime ? realtime_ : others_; }
  slot& slot_of(wire::place at) noexcept { return slots_[at.index()]; }
  std::optional<wire::place> place_of(const path::sim::end& at) const noexcept;
  void channel_connected(wire::place at, const end_pointer& over);
  void channel_up(wire::place at);
  void accept(wire::place at, const end_pointer& over, std::uint32_t epoch);
  void shut(wire::place at);
  void channel_is_down(wire::place at);
  void finish_when_fenced();
  void let_go();
  void settle();
  void arm();
  void wake();

  node& node_;
  std::string peer_;
  bool one_sided_;
  links::session session_;
  end_pointer session_end_;
  end_pointer offered_; ///< a new connection of the session, while it replaces the old one
  std::uint64_t session_attempt_ = 0;
  lanes::host_board board_;
  lanes::host_board other_board_{board_, 1};
  side realtime_;
  side others_;
  std::array<slot, wire::place_count> slots_;
  std::map<std::pair<bool, links::operation_id>, memory::piece_list> grants_; ///< by engine and transfer
  std::array<std::uint32_t, lane_count> losses_{};
  std::optional<error> ending_; ///< why the link is being ended
  bool over_ = false;
  bool dead_ = false;
  int depth_ = 0;
  time_point armed_ = time_point::max();
};

} // namespace weft::sim
