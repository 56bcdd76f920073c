// If a call of libibverbs or librdmacm fails, transfers end well, over another rail or TCP, and nothing is
// left.
#include "rdma/pair_of_fabrics.hpp"

#include <cerrno>
#include <limits>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::size_t always = std::numeric_limits<std::size_t>::max();

/// A transfer of the present pair of fabrics, which has to end well.
void moves(pair_of_fabrics& both) {
  std::ranges::fill(both.there.bytes(), poison);
  CHECK(both.write() == error_code());
  CHECK(both.arrived());
  CHECK(both.neighbours_untouched());
}

} // namespace

TEST_CASE("a call that fails from the start costs no transfer") {
  for (const auto& call : fake_network::calls_that_fail()) {
    if (call == "reg_mr") continue; // memory is registered on all rails or on none: its owner hears of it
    for (const int code : {ENOMEM, EINVAL, ENODEV}) {
      CAPTURE(call);
      CAPTURE(code);
      fake_network network;
      const clean_end then{network};
      network.fail_call(call, code, always);
      pair_of_fabrics both(settings{{"verbs.fence_limit", "50ms"}});
      both.connect();
      moves(both);
      moves(both);
      both.here = {}, both.there = {}, both.target = {};
    }
  }
}

TEST_CASE("a call that fails under way, once or from then on, costs no transfer") {
  for (const auto& call : fake_network::calls_that_fail()) {
    for (const auto times : {std::size_t{1}, always}) {
      CAPTURE(call);
      CAPTURE(times);
      fake_network network;
      const clean_end then{network};
      pair_of_fabrics both({{"verbs.fence_limit", "50ms"}, {"slice.size", "64KiB"}, {"lane.bulk.channels", "2"}});
      both.connect();
      moves(both);
      network.fail_call(call, EIO, times);
      for (int i = 0; i < 3; ++i) moves(both);
      // What broke is set up anew, for which those calls are needed that a link in order does not need.
      network.fail_request(IBV_WR_RDMA_WRITE, IBV_WC_RETRY_EXC_ERR, 1);
      for (int i = 0; i < 3; ++i) moves(both);
      both.here = {}, both.there = {}, both.target = {};
    }
  }
}

TEST_CASE("what a device refuses on the data path is named, and its queue pairs are set up anew") {
  for (const char* call : {"poll_cq", "req_notify_cq", "post_srq_recv", "post_send"}) {
    CAPTURE(call);
    fake_network network;
    const clean_end then{network};
    pair_of_fabrics both({{"transport", "verbs"}, {"log.level", "debug"}, {"verbs.fence_limit", "50ms"}});
    both.connect();
    moves(both);
    network.fail_call(call, EIO, 1);
    CHECK(eventually([&] {
      moves(both);
      return network.calls_failed() == 1 && both.logged("Input/output error");
    }));
    CHECK(both.logged(std::string(call == std::string_view("post_send") ? "fake" : call)));
    moves(both);
    both.here = {}, both.there = {}, both.target = {};
  }
}

TEST_CASE("a device that tells of an error of its own loses its queue pairs, and what they carried goes on") {
  for (const auto what : {IBV_EVENT_DEVICE_FATAL, IBV_EVENT_CQ_ERR, IBV_EVENT_SRQ_ERR, IBV_EVENT_QP_FATAL}) {
    CAPTURE(what);
    fake_network network;
    const clean_end then{network};
    pair_of_fabrics both({{"transport", "verbs"}, {"log.level", "debug"}, {"verbs.fence_limit", "50ms"}});
    both.connect();
    moves(both);
    for (std::size_t rail = 0; rail < 2; ++rail) network.tell_of_device(rail, what);
    CHECK(eventually([&] { return both.logged(ibv_event_type_str(what)); }));
    for (int i = 0; i < 5; ++i) moves(both);
    both.here = {}, both.there = {}, both.target = {};
  }
}

TEST_CASE("who takes no links listens on no rail") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  const auto of_server = network.listeners();
  CHECK(of_server == 2); // one for each rail
  fabric client(configured(over_verbs));
  CHECK(network.listeners() == of_server);
  both.connect();
  moves(both);
  both.here = {}, both.there = {}, both.target = {};
}
