// One engine of a link on its worker: the channels of its lanes, its timer, and the way to the session on the data
// thread. A part of its link_core, with that one's lifetime. All members are used on the worker's thread unless they
// say otherwise.
#pragma once

#include "fabric/due_timer.hpp"
#include "fabric/worker.hpp"
#include "link/engine.hpp"
#include "path/channel.hpp"
#include "path/driver.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace weft::fabrics {

class link_core;

class link_side final : public batched, public links::host, public path::driver {
public:
  link_side(worker& on, link_core& core, const tunables& limits, std::span<const lane> lanes, bool dialled);

  [[nodiscard]] worker& on() noexcept { return worker_; }
  [[nodiscard]] link_core& core() noexcept { return core_; }
  /// Keeps the whole link alive.
  [[nodiscard]] std::shared_ptr<link_side> self();
  /// From any thread.
  [[nodiscard]] const links::engine_counters& counters() const noexcept { return engine_.counters(); }

  /// From any thread: work(engine) on this side's thread, in a batch.
  template <class Work>
  void run(Work&& work) {
    if (worker_.here()) {
      return worker_.run([&] {
        take_part();
        work(engine_);
      });
    }
    worker_.run([self = self(), work = std::forward<Work>(work)]() mutable {
      self->take_part();
      work(self->engine_);
    });
  }

  /// A connection that is a channel. The accepting end answers the greeting on it first.
  void adopt_connection(boost::asio::ip::tcp::socket connected, wire::place at, std::uint32_t epoch, bool answer);
  /// Takes over a channel, as soon as its predecessor is fenced; then `start` is called. `local`: its address at this
  /// end.
  void adopt(wire::place at, std::shared_ptr<path::channel> opened, const boost::asio::ip::address& local,
             std::function<void()> start);
  /// The peer's end of this channel is gone.
  void drop(wire::place at, std::uint32_t epoch);
  /// The link is over: closes the channels, then ends every operation and drops `done`.
  void end(const error& why, std::shared_ptr<void> done);

  // batched
  void batch_began(time_point now) override { engine_.advance(now); }
  void post_gathered() override { engine_.flush(); }
  void flush_channels() override;

  // links::host
  void open_channel(wire::place at) override;
  void close_channel(wire::place at) override;
  void operation_arrived(const links::incoming& begun) override;
  void due_sooner() override { take_part(); }
  void protocol_broken(const error& how) override;

  // path::driver
  void batch_begins() override;
  void batch_ends() override { worker_.end(); }
  void channel_failed(wire::place at, std::uint32_t epoch, const error& why) override;
  void channel_closed(wire::place at, std::uint32_t epoch) override;
  void channel_proven(wire::place at, std::uint32_t epoch) override;

private:
  using channel_pointer = std::shared_ptr<path::channel>;
  struct place_channels {
    channel_pointer up;          ///< the engine's
    channel_pointer closing;     ///< the engine's until it is fenced
    channel_pointer next;        ///< waits for that
    const rail* over = nullptr;  ///< what the next goes over
    std::function<void()> start; ///< of the next
    std::optional<error> lost;   ///< why the closing one goes, if the session is to hear of it
  };

  void take_part();
  [[nodiscard]] place_channels& of(wire::place at);
  void bring_up(wire::place at);
  void take_down(wire::place at, std::optional<error> lost);
  void fenced(wire::place at);
  void discard(wire::place at, channel_pointer unused);
  void discard_next(wire::place at);
  void lose(wire::place at, const error& why);
  void finish_when_fenced();
  void set_timer();

  worker& worker_;
  link_core& core_;
  links::engine engine_;
  std::deque<place_channels> channels_; ///< by the index of their place, as far as any was opened
  struct discarded {
    wire::place at;
    channel_pointer channel;
  };
  std::vector<discarded> discarded_; ///< never were the engine's; until they are fenced
  std::shared_ptr<link_side> kept_;  ///< itself, as long as a channel is being fenced
  due_timer timer_;
  std::optional<error> ended_;
  std::shared_ptr<void> end_done_;
  bool over_ = false; ///< ended, with all channels fenced
};

} // namespace weft::fabrics
