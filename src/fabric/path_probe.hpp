// A queue pair over which nothing goes but the first word of each end: whether data gets through, which the connection
// manager alone does not tell. Both ends have one; used on a link's data thread.
#pragma once

#include "fabric/worker.hpp"
#include "path/driver.hpp"
#include "path/verbs/connect.hpp"

#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>

namespace weft::fabrics {

class path_probe final : public path::listener, public path::driver, public std::enable_shared_from_this<path_probe> {
public:
  /// Success or why not, and the rail of this end if one was found.
  using told = std::function<void(const error& failure, const std::string& rail)>;

  /// `held` is given back when the queue pair is gone. Without `done` this is the end that was asked: it lasts until
  /// the other one closes.
  path_probe(worker& thread, std::shared_ptr<path::verbs::connector> connections, const tunables& limits,
             std::shared_ptr<void> held, told done);

  /// The end of setting up the queue pair.
  void begin(const error& failure, std::unique_ptr<path::verbs::endpoint> connected);
  /// The link is over.
  void end() { finish(error(errc::closed)); }

  // path::driver
  void batch_begins() override { thread_.begin(); }
  void batch_ends() override;
  void channel_failed(wire::place, std::uint32_t, const error& why) override { finish(why); }
  void protocol_broken(const error& how) override { finish(how); }
  void channel_closed(wire::place, std::uint32_t) override { let_go(); }
  void channel_proven(wire::place, std::uint32_t) override;

  // path::listener: the peer says nothing that is meant for anybody.
  void frame_arrived(wire::place, const wire::frame_header&, std::span<const std::byte>) override {}
  void slice_began(wire::place, const wire::frame_header&) override {}
  [[nodiscard]] std::size_t slice_space(wire::place, std::span<iovec>) override { return 0; }
  void slice_grew(wire::place, std::size_t) override {}
  void slice_landed(wire::place, const wire::frame_header&) override {}
  void sent(wire::place, std::uint64_t) override {}
  void writable(wire::place) override {}

private:
  void finish(const error& why);
  void let_go();

  worker& thread_;
  const std::shared_ptr<path::verbs::connector> connections_;
  const tunables& limits_;
  std::shared_ptr<void> held_;
  told done_;
  const bool asked_;
  std::string rail_;
  std::shared_ptr<path::verbs::channel> channel_;
  bool finished_ = false;
  std::shared_ptr<path_probe> kept_; ///< itself, as long as the channel tells it something
  boost::asio::steady_timer timer_;
};

} // namespace weft::fabrics
