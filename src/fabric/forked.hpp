// What a fabric answers in a child of its process: `forked`, without a thread, lock or socket of the parent's.
#pragma once

#include "weft/error.hpp"

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/system_executor.hpp>

#include <thread>

namespace weft::fabrics {

/// Completes `handler` with `forked` and empty results, from a new thread, as the fabric's do not exist here: on the
/// handler's own executor if it has one, else there.
template <class... Result>
void answer_forked(boost::asio::any_completion_handler<void(error_code, Result...)> handler) {
  namespace asio = boost::asio;
  // Tracked: the handler's context must not run out of work before this is there.
  asio::any_completion_executor own =
      asio::prefer(asio::get_associated_executor(handler, asio::any_completion_executor(asio::system_executor())),
                   asio::execution::outstanding_work.tracked);
  std::thread([own = std::move(own), handler = std::move(handler)]() mutable {
    asio::dispatch(own, [handler = std::move(handler)]() mutable { std::move(handler)(errc::forked, Result{}...); });
  }).detach();
}

} // namespace weft::fabrics
