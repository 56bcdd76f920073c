// A timer that is moved only forward in time when it fires: a later due time costs nothing.
#pragma once

#include "base/clock.hpp"

#include "weft/error.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <utility>

namespace weft::fabrics {

/// Of one thread.
class due_timer {
public:
  explicit due_timer(boost::asio::io_context& on) : timer_(on) {}

  /// Calls `then` at `due`, or before it where it was to be called earlier. `then` keeps what this is a member of.
  template <class Function>
  void wait_until(time_point due, Function then) {
    if (due >= due_) return;
    due_ = due;
    timer_.expires_at(due);
    timer_.async_wait([this, then = std::move(then)](const error_code& code) {
      if (code) return;
      due_ = time_point::max();
      then();
    });
  }
  void cancel() { timer_.cancel(); }

private:
  boost::asio::steady_timer timer_;
  time_point due_ = time_point::max();
};

} // namespace weft::fabrics
