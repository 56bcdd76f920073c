// One engine of a link on its worker: the channels of its lanes, its timer, and the way to the session on the data
// thread. A part of its link_core, with that one's lifetime. All members are used on the worker's thread unless they
// say otherwise.
#pragma once

#include "fabric/worker.hpp"
#include "link/engine.hpp"
#include "path/tcp/channel.hpp"

#include <boost/asio/steady_timer.hpp>

#include <array>
#include <memory>

namespace weft::fabrics {

class link_core;

class link_side final : public batched, public links::host, public path::tcp::driver {
public:
  link_side(worker& on, link_core& core, const tunables& limits, std::span<const lane> lanes, bool dialled);

  [[nodiscard]] worker& on() noexcept { return worker_; }
  [[nodiscard]] link_core& core() noexcept { return core_; }
  /// Keeps the whole link alive.
  [[nodiscard]] std::shared_ptr<link_side> self();
  [[nodiscard]] links::engine& engine() noexcept { return engine_; }
  /// From any thread.
  [[nodiscard]] const links::engine_counters& counters() const noexcept { return engine_.counters(); }

  /// From any thread: work(engine) on this side's thread, in a batch.
  template <class Work>
  void run(Work&& work) {
    worker_.run([self = self(), work = std::forward<Work>(work)]() mutable {
      self->worker_.touch(self);
      work(self->engine_);
    });
  }

  /// A channel is open. The accepting end answers the greeting on it first.
  void adopt(boost::asio::ip::tcp::socket socket, lane on, std::uint32_t epoch, bool answer);
  /// The peer's end of this channel is gone.
  void drop(lane on, std::uint32_t epoch);
  /// The link is over: closes the channels, ends every operation.
  void end(const error& why);

  // batched
  void batch_began(time_point now) override { engine_.advance(now); }
  void post_gathered() override { engine_.flush(); }
  void flush_channels() override;

  // links::host
  void open_channel(lane on) override;
  void close_channel(lane on) override;
  void operation_arrived(const links::incoming& begun) override;
  void protocol_broken(const error& how) override;

  // path::tcp::driver
  void batch_begins() override;
  void batch_ends() override { worker_.end(); }
  void channel_failed(lane on, std::uint32_t epoch, const error& why) override;

private:
  std::shared_ptr<path::tcp::channel> take_down(lane on);
  void lose(lane on, const error& why);
  void set_timer();

  worker& worker_;
  link_core& core_;
  links::engine engine_;
  std::array<std::shared_ptr<path::tcp::channel>, lane_count> channels_;
  boost::asio::steady_timer timer_;
  time_point timer_due_ = time_point::max();
  bool ended_ = false;
};

} // namespace weft::fabrics
