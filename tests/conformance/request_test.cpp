#include "pair.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <thread>

using namespace weft;
using namespace weft::tests;
namespace asio = boost::asio;

TEST_CASE("a request reaches the peer's handler and its answer comes back, by a future") {
  pair both;
  both.server.on_request([](incoming_request request) { request.reply(request.payload()); });
  const auto answer = both.link.request(bytes_of("hello"), {}, asio::use_future).get();
  CHECK(text_of(answer.payload) == "hello");
}
