// How a fabric ends: it refuses what is new, waits for what is under way, ends its links, and joins its threads when
// the last of them is fenced.
#include "fabric/fabric_core.hpp"

#include "fabric/link_core.hpp"

#include <sys/socket.h>

#include <future>

namespace weft::fabrics {

namespace asio = boost::asio;

bool fabric_core::busy() const {
  for (const auto& link : links()) {
    if (link->outstanding() > 0) return true;
  }
  return false;
}

void fabric_core::close(duration patience, std::function<void()> done) {
  data().run([self = shared_from_this(), patience, done = std::move(done)]() mutable {
    {
      const std::lock_guard lock(self->mutex_);
      self->closing_ = true;
    }
    error_code ignored;
    // A child of this process may hold the descriptor too; nobody is to connect any more all the same.
    if (self->acceptor_.is_open()) ::shutdown(self->acceptor_.native_handle(), SHUT_RDWR);
    self->acceptor_.close(ignored);
    self->go_round(0, [self, patience, done = std::move(done)]() mutable {
      auto timer = std::make_shared<asio::steady_timer>(self->data().context());
      self->wait_to_close(std::move(timer), deadline_after(clock::now(), patience), std::move(done));
    });
  });
}

/// By all threads from number `next` on, and then `done` on the first: what was submitted before is counted then.
void fabric_core::go_round(std::size_t next, std::function<void()> done) {
  if (next == data_.size()) {
    return realtime_.post(
        [self = shared_from_this(), done = std::move(done)]() mutable { self->data().post(std::move(done)); });
  }
  data_[next]->post([self = shared_from_this(), next, done = std::move(done)]() mutable {
    self->go_round(next + 1, std::move(done));
  });
}

void fabric_core::wait_to_close(std::shared_ptr<asio::steady_timer> timer, time_point until,
                                std::function<void()> done) {
  if (!busy() || clock::now() >= until) return close_links(std::move(done));
  timer->expires_after(std::chrono::milliseconds(5));
  timer->async_wait([self = shared_from_this(), timer, until, done = std::move(done)](const error_code&) mutable {
    self->wait_to_close(std::move(timer), until, std::move(done));
  });
}

void fabric_core::close_links(std::function<void()> done) {
  std::shared_ptr<void> own; // let go of behind the lock
  {
    const std::lock_guard lock(mutex_);
    if (all_fenced_) return data().post(std::move(done));
    on_fenced_.push_back(std::move(done));
    own = std::move(unfenced_);
  }
  for (const auto& link : links()) link->close();
}

std::shared_ptr<void> fabric_core::hold_close() const {
  const std::lock_guard lock(mutex_);
  return unfenced_;
}

void fabric_core::all_fenced() {
  std::vector<std::function<void()>> waiting;
  {
    const std::lock_guard lock(mutex_);
    all_fenced_ = true;
    waiting = std::exchange(on_fenced_, {});
  }
  for (auto& done : waiting) data().post(std::move(done));
}

void fabric_core::shut_down() {
  const std::lock_guard once(shut_down_mutex_);
  if (std::exchange(down_, true)) return;
  // Shared: the other thread may still be inside set_value when this one goes on.
  const auto closed = std::make_shared<std::promise<void>>();
  if (weak_from_this().lock()) {
    close(duration::zero(), [closed] { closed->set_value(); });
    closed->get_future().wait();
  }
  if (rdma_) rdma_->stop();
  realtime_.stop();
  for (const auto& thread : data_) thread->stop();
}

} // namespace weft::fabrics
