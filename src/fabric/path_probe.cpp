#include "fabric/path_probe.hpp"

namespace weft::fabrics {

path_probe::path_probe(worker& thread, std::shared_ptr<path::verbs::connector> connections, const tunables& limits,
                       std::shared_ptr<void> held, told done)
    : thread_(thread), connections_(std::move(connections)), limits_(limits), held_(std::move(held)),
      done_(std::move(done)), asked_(done_ == nullptr), timer_(thread.context()) {}

void path_probe::begin(const error& failure, std::unique_ptr<path::verbs::endpoint> connected) {
  if (failure.code() != errc{}) return finish(failure);
  rail_ = connected->shared->on().name;
  auto* endpoint = connected.get();
  channel_ = std::make_shared<path::verbs::channel>(
      std::move(connected), thread_.executor(), lane::standard, 1, *this, *this,
      [connections = connections_, &thread = thread_](std::unique_ptr<path::verbs::endpoint> used,
                                                      std::function<void()> done) {
        connections->dispose(std::move(used), thread.executor(), std::move(done));
      },
      limits_);
  if (finished_) {
    std::ignore = channel_->close(); // at once: the peer could not use it yet
    return let_go();
  }
  kept_ = shared_from_this();
  channel_->attach();
  connections_->confirm(*endpoint);
  timer_.expires_after(limits_.connect_timeout); // from now on: it may have waited long for its turn
  timer_.async_wait([self = shared_from_this()](const error_code& code) {
    if (code) return;
    self->batch_begins();
    self->finish(error(errc::unreachable, "the queue pair is connected, and nothing gets through"));
    self->batch_ends();
  });
}

void path_probe::batch_ends() {
  if (channel_) channel_->flush();
  thread_.end();
}

void path_probe::channel_proven(wire::place, std::uint32_t) {
  // The end that was asked stays: what it said last may not have gone yet.
  if (!asked_) finish({});
}

void path_probe::finish(const error& why) {
  if (std::exchange(finished_, true)) return;
  timer_.cancel();
  if (done_) std::exchange(done_, nullptr)(why, rail_);
  if (!channel_ || channel_->close()) let_go();
}

void path_probe::let_go() {
  held_.reset();
  // Its channel is on the stack, and this object may go with it.
  thread_.post([kept = std::exchange(kept_, nullptr)] {});
}

} // namespace weft::fabrics
