#include "fabric/submit.hpp"

#include <doctest/doctest.h>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>

#include <future>
#include <optional>

using namespace weft;
using namespace weft::fabrics;
namespace asio = boost::asio;

TEST_CASE("a handler without an executor completes on the worker's thread") {
  lanes::host_board host;
  worker on({"test"}, tunables{}, host);
  std::promise<bool> there;
  pending<int> end([&](error_code code, int value) { there.set_value(!code && value == 7 && on.here()); }, on);
  end({}, 7);
  CHECK(there.get_future().get());
}

TEST_CASE("a handler completes on the executor bound to it, which has work until then") {
  asio::io_context home;
  lanes::host_board host;
  worker on({"test"}, tunables{}, host);
  bool done = false;
  auto end = std::make_shared<pending<>>(
      asio::bind_executor(home, [&](error_code) { done = home.get_executor().running_in_this_thread(); }), on);
  on.run([end] { (*end)({}); });
  end.reset();
  home.run(); // returns only because the handler came
  CHECK(done);
}

TEST_CASE("a handler never runs inside the call that ends it") {
  lanes::host_board host;
  worker on({"test"}, tunables{}, host);
  std::promise<void> over;
  bool inside = false;
  bool early = false;
  on.post([&] {
    inside = true;
    on.run([&] {
      pending<> end(
          [&](error_code) {
            early = inside;
            over.set_value();
          },
          on);
      end({});
    });
    inside = false;
  });
  over.get_future().wait();
  CHECK_FALSE(early);
}

TEST_CASE("a handler whose operation was dropped hears that all is closed") {
  std::promise<error_code> told;
  lanes::host_board host;
  std::optional<worker> on(std::in_place, thread_plan{"test"}, tunables{}, host);
  SUBCASE("before it had an end") {
    const pending<int> dropped([&](error_code code, int) { told.set_value(code); }, *on);
  }
  SUBCASE("with the thread it was to be told on") {
    on->stop();
    pending<int> late([&](error_code code, int) { told.set_value(code); }, *on);
    late(errc::closed, 1);
  }
  CHECK(told.get_future().get() == errc::closed);
}
