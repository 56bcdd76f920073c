// A link as its fabric keeps it: the session with its control connection on its data thread, and the two sides with
// their engines. Handles, queued work and the fabric share it; it ends once, and then only answers with why.
#pragma once

#include "fabric/link_side.hpp"
#include "fabric/path_probe.hpp"
#include "link/session.hpp"
#include "path/tcp/channel.hpp"
#include "path/tcp/connect.hpp"
#include "path/verbs/connect.hpp"

#include "weft/inspect.hpp"
#include "weft/metrics.hpp"

#include <array>
#include <atomic>
#include <bitset>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace weft::fabrics {

class fabric_core;

class link_core final : public batched,
                        public links::session_host,
                        public path::listener,
                        public path::driver,
                        public std::enable_shared_from_this<link_core> {
public:
  using linked_handler = std::function<void(const error& failure)>;

  /// The dialling end.
  link_core(std::shared_ptr<fabric_core> fabric, path::tcp::address to, wire::hello mine);
  /// The accepting end, for the hello that `control` brought.
  link_core(std::shared_ptr<fabric_core> fabric, wire::hello mine, wire::hello peer);
  /// Leaves its counts to the fabric.
  ~link_core();

  [[nodiscard]] fabric_core& fabric() noexcept { return *fabric_; }
  [[nodiscard]] bool forked() const noexcept;
  [[nodiscard]] const id128& id() const noexcept { return session_.mine().session; }
  /// The peer's name; empty until linked, and constant from then on.
  [[nodiscard]] const std::string& peer() const noexcept { return peer_; }
  /// Its process; as the name.
  [[nodiscard]] const id128& peer_incarnation() const noexcept { return peer_incarnation_; }
  /// The data thread of this link.
  [[nodiscard]] worker& thread() noexcept { return thread_; }
  [[nodiscard]] link_side& side_of(lane on) noexcept { return on == lane::realtime ? realtime_ : data_; }

  // From any thread.
  [[nodiscard]] bool alive() const noexcept { return alive_.load(std::memory_order_acquire); }
  /// Why it ended; only after alive() was false.
  [[nodiscard]] error end_reason() const;
  /// Operations that have not completed.
  [[nodiscard]] std::uint64_t outstanding() const noexcept;
  void add_counters_to(metrics& sum) const noexcept;
  void want_channel(wire::place at);
  void channel_lost(wire::place at, std::uint32_t epoch, const error& why);
  /// Something came over the queue pair.
  void queue_pair_proven(wire::place at, std::uint32_t epoch);
  /// Asks the peer for a sign of life; `told` hears on the link's thread whether one came in time.
  void probe(std::function<void(bool lives)> told);
  using inspected = std::function<void(const error& ended, std::vector<path_status> found)>;
  /// Tries every way to the peer, at the dialling end; `done` hears on the link's thread, within connect.timeout or so,
  /// of what was found or why the link is over.
  void inspect_paths(inspected done);
  /// The peer's process is not the one it was.
  void end_as(errc reason);
  /// Ends the link, after the present call has returned: the peer broke the protocol, say.
  void break_off(const error& how);
  /// Takes over the control connection of a new or a resumed session; closes it when the hello is stale.
  void accept(boost::asio::ip::tcp::socket control, const wire::hello& peer);
  /// Takes over a channel, or refuses it when a newer one was opened.
  void accept_channel(boost::asio::ip::tcp::socket socket, const wire::channel_hello& hello);
  /// Takes over a queue pair, or refuses it as accept_channel does.
  void accept_queue_pair(std::shared_ptr<path::verbs::connector::request> request);
  /// This process closes it.
  void close();
  /// It is among the fabric's links: `unfenced` is let go of when both sides are fenced and all operations completed.
  void registered(std::shared_ptr<void> unfenced) noexcept { unfenced_ = std::move(unfenced); }

  // On the link's data thread.
  /// Dials; `done` hears once of the handshake's end.
  void connect(linked_handler done);
  void give_up_connecting(const error& why);

  // batched
  void batch_began(time_point now) override { session_.advance(now); }
  void post_gathered() override {}
  void flush_channels() override;

  // links::session_host
  void dial_session() override;
  void drop_session() override;
  void send(const wire::frame_header& header, std::span<const std::byte> body) override;
  void dial_channel(wire::place at, std::uint32_t epoch) override;
  void drop_channel(wire::place at, std::uint32_t epoch) override;
  void linked() override;
  void probed(bool lives) override;
  void ended(const error& why) override;

  // path::listener of the control connection: session frames, and nothing else.
  void frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) override;
  void slice_began(wire::place at, const wire::frame_header& header) override;
  [[nodiscard]] std::size_t slice_space(wire::place, std::span<iovec>) override { return 0; }
  void slice_grew(wire::place, std::size_t) override {}
  void slice_landed(wire::place, const wire::frame_header&) override {}
  void sent(wire::place, std::uint64_t) override {}
  void writable(wire::place) override {}

  // path::driver of the control connection
  void batch_begins() override;
  void batch_ends() override;
  void channel_failed(wire::place at, std::uint32_t epoch, const error& why) override;
  void channel_closed(wire::place, std::uint32_t) override {}
  void protocol_broken(const error& how) override { break_off(how); }

private:
  /// Runs `work(session)` on the link's data thread, in a batch that the session takes part in.
  template <class Work>
  void with_session(Work&& work);
  void tell_linked();
  void accept_here(boost::asio::ip::tcp::socket control, const wire::hello& peer);
  /// A rail of the peer that queue pairs can be dialled at.
  struct peer_rail {
    path::verbs::listening_rail at;
    std::size_t turn = 0;       ///< among the addresses of its rail
    std::uint32_t failures = 0; ///< in a row
    std::uint32_t flaps = 0;    ///< in a row: it was gone soon after it had come back
    time_point blamed_at{};
    time_point retry_at{};
    time_point returned_at{}; ///< when channels went back to it
  };
  /// Which way the newest channel of a place was dialled.
  struct carrier {
    std::uint32_t epoch = 0;         ///< 0: there is none
    std::optional<std::size_t> rail; ///< of the peer; none: over TCP
    bool proven = false;             ///< something has come over it
    time_point dialled_at{};
  };
  [[nodiscard]] std::size_t choice(wire::place at, std::size_t rank) const noexcept;
  [[nodiscard]] peer_rail* rail_for(wire::place at);
  void blame_rail(wire::place at, std::uint32_t epoch, const error& why);
  void put_off(peer_rail& rail);
  [[nodiscard]] bool prefers(wire::place at, std::size_t rail) const noexcept;
  void look_for_better();
  void go_back_to(std::size_t rail);
  void probe_rail(std::size_t rail, path_probe::told done);
  [[nodiscard]] carrier& carrier_of(wire::place at) noexcept { return carriers_[at.index()]; }
  [[nodiscard]] std::vector<lane> lanes_over(std::optional<std::size_t> rail);
  [[nodiscard]] std::shared_ptr<path_probe> make_path_probe(path_probe::told done);
  void answer_path_probe(const std::shared_ptr<path::verbs::connector::request>& request);
  void dial_queue_pair(wire::place at, std::uint32_t epoch, peer_rail& over);
  void dial_connection(wire::place at, std::uint32_t epoch);
  void adopt_queue_pair(wire::place at, std::uint32_t epoch, std::unique_ptr<path::verbs::endpoint> connected);
  [[nodiscard]] error learn_rails(const wire::hello& peer);
  void accept_channel_here(boost::asio::ip::tcp::socket socket, const wire::channel_hello& hello);
  void set_timer();
  void end_link(errc told, const error& why);
  void finish(const error& why);

  std::shared_ptr<fabric_core> fabric_;
  worker& thread_; ///< one of the data workers
  path::tcp::address address_;
  std::string peer_;
  id128 peer_incarnation_;
  boost::asio::ip::tcp::endpoint remote_; ///< where the session leads, and so the channels
  boost::asio::ip::tcp::endpoint local_;
  links::session session_;
  std::shared_ptr<path::tcp::channel> control_;
  std::shared_ptr<path::tcp::channel> next_control_; ///< of a resumed session, until the old one is dropped
  std::function<void()> stop_dialling_;
  std::vector<peer_rail> peer_rails_;
  std::size_t first_addresses_ = 0;                 ///< so many of these, in front, are the first of their rail
  std::array<carrier, wire::place_count> carriers_; ///< by their index
  /// Of each place the rails that failed it since it had a channel: a bit each. All are tried once, and TCP behind
  /// them.
  std::array<std::bitset<wire::most_rail_addresses>, wire::place_count> tried_;
  std::vector<std::weak_ptr<path_probe>> path_probes_;
  bool says_no_rail_ = true; ///< whether it is news that no rail leads to the peer
  bool looks_ = false;       ///< a rail is being tried
  linked_handler on_linked_;
  std::shared_ptr<void> unfenced_;
  std::vector<std::function<void(bool)>> probes_;
  due_timer timer_;
  due_timer better_timer_; ///< for look_for_better
  std::atomic<bool> alive_ = true;
  mutable std::mutex end_mutex_; ///< guards end_, which is written once
  error end_;
  link_side realtime_;
  link_side data_;
};

template <class Work>
void link_core::with_session(Work&& work) {
  thread_.run([self = shared_from_this(), work = std::forward<Work>(work)]() mutable {
    self->thread_.touch(self);
    work(self->session_);
  });
}

} // namespace weft::fabrics
