#include "path/verbs/channel.hpp"

#include "verbs_channel_rig.hpp"

#include <chrono>
#include <thread>

using namespace weft;
using namespace weft::path;
using namespace weft::tests;
using namespace std::chrono_literals;

TEST_CASE(
    "every status but success fails the channel once, with a name, the rail, its GID, the queue pair and the peer") {
  for (int status = IBV_WC_LOC_LEN_ERR; status <= IBV_WC_TM_RNDV_INCOMPLETE; ++status) {
    CAPTURE(status);
    rig with;
    with.open();
    CHECK(with.post(0, 0, 1024));
    with.channel->flush();
    const auto number = with.pair->posted[0].request.wr_id;
    SUBCASE("of a request") {
      with.nic.complete(*with.pair, number, static_cast<ibv_wc_status>(status));
    }
    SUBCASE("of a receive") {
      with.nic.fail_receive(*with.pair, static_cast<ibv_wc_status>(status));
    }
    with.run();
    REQUIRE(with.events.failures.size() == 1);
    const auto& why = with.events.failures[0];
    CHECK(why == errc::path_failed);
    for (const auto* part : {"fake0:1", "GID index 3", "queue pair 100", "10.0.0.2:7000", "vendor error"}) {
      CHECK(why.where().find(part) != std::string::npos);
    }
    CHECK(why.where().find(ibv_wc_status_str(static_cast<ibv_wc_status>(status))) != std::string::npos);
    const bool own = status <= IBV_WC_LOC_PROT_ERR || status == IBV_WC_MW_BIND_ERR || status == IBV_WC_LOC_ACCESS_ERR ||
                     status == IBV_WC_LOC_RDD_VIOL_ERR;
    CHECK((why.where().find("fault of this end") != std::string::npos) == own);
    if (status == IBV_WC_REM_ACCESS_ERR) CHECK(why.where().find("the peer did not take it") != std::string::npos);
    CHECK(with.events.slices_sent == 0);
  }
}

TEST_CASE("a request that the device refuses fails the channel, not inside the call") {
  rig with;
  with.open();
  CHECK(with.channel->post_message(message(1, 0), {}));
  with.nic.post_fails_with = ENOMEM;
  with.channel->flush();
  CHECK(with.events.failures.empty());
  with.run();
  REQUIRE(with.events.failures.size() == 1);
  CHECK(with.events.failures[0].where().find("post_send") != std::string::npos);
  with.nic.post_fails_with = 0;
}

TEST_CASE("the fence waits for the flush of all requests and for the last receive, and what came before counts") {
  rig with;
  with.open();
  CHECK(with.post(0, 0, 1024));
  with.channel->flush();
  CHECK_FALSE(with.channel->close());
  with.closed = true;
  CHECK(with.pair->state == IBV_QPS_ERR);
  const auto last = with.pair->posted.back().request;
  CHECK((last.send_flags & IBV_SEND_SIGNALED) != 0);
  with.nic.deliver(*with.pair, frame(message(1, 0)), plenty); // had arrived
  for (const auto& each : with.pair->posted) {
    with.nic.complete(*with.pair, each.request.wr_id, IBV_WC_WR_FLUSH_ERR);
  }
  with.run();
  CHECK(with.events.frames.size() == 1);
  CHECK(with.events.closings == 0);
  CHECK(with.events.failures.empty()); // it is being closed
  with.nic.deliver(*with.pair, frame(message(2, 0)), plenty);
  with.end->on_event(verbs::endpoint::event::last_request_reached, {});
  with.run();
  CHECK(with.events.frames.size() == 2);
  CHECK(with.events.closings == 1);
  CHECK(with.channel->close());
  CHECK(with.events.slices_sent == 0);
}

namespace {

/// One whose fence has begun, and waits for the device for a millisecond.
struct fencing_rig : rig {
  fencing_rig() : rig(64, plenty, hasty()) {
    open();
    CHECK_FALSE(channel->close());
    closed = true;
  }
  static tunables hasty() {
    auto limits = patient();
    limits.verbs_fence_limit = 1ms;
    return limits;
  }
};

} // namespace

TEST_CASE("a device that never tells the end of a queue pair does not hold up the fence for ever") {
  fencing_rig with;
  CHECK(with.events.closings == 0);
  with.run_until([&] { return with.events.closings > 0; });
  CHECK(with.channel->close());
}

TEST_CASE("what waits for its turn when a fence ends speaks to no owner any more") {
  fencing_rig with;
  with.end->on_event(verbs::endpoint::event::last_request_reached, {});
  with.run();
  std::this_thread::sleep_for(2ms);
  // Read by what the fence does at its limit: it would end soon, and ends now.
  with.nic.complete(*with.pair, with.pair->posted.back().request.wr_id, IBV_WC_WR_FLUSH_ERR);
  with.context.restart();
  with.context.run_for(20ms);
  CHECK(with.events.closings == 1);
}

namespace {

tunables impatient() {
  auto limits = rig::patient();
  limits.verbs_silence_limit = 60ms;
  return limits;
}

} // namespace

TEST_CASE("a device that tells nothing of what was posted is given up, and not while it gets on") {
  rig with(64, plenty, impatient());
  with.open();
  for (std::uint32_t i = 0; i < 40; ++i) CHECK(with.channel->post_message(message(i, 64), counting(64)));
  with.channel->flush();
  // Some at a time: it is slow, and works.
  std::uint64_t number = with.pair->posted.front().request.wr_id;
  for (const auto last = with.pair->posted.back().request.wr_id; number < last; ++number) {
    with.nic.complete(*with.pair, number);
    with.run();
    with.context.run_for(4ms);
    CHECK(with.events.failures.empty());
  }
  with.run_until([&] { return !with.events.failures.empty(); });
  REQUIRE(with.events.failures.size() == 1);
  CHECK(with.events.failures[0] == errc::path_failed);
  CHECK(with.events.failures[0].where() ==
        "rail fake0:1, queue pair 100 to 10.0.0.2:7000: the device tells nothing of 1 requests");
}

TEST_CASE("a device is not given up before the limit of its silence") {
  auto limits = rig::patient();
  limits.verbs_silence_limit = 800ms;
  rig with(64, plenty, limits);
  with.open();
  CHECK(with.channel->post_message(message(0, 64), counting(64)));
  with.channel->flush();
  with.context.restart();
  with.context.run_for(900ms); // the first look finds what open() had done
  CHECK(with.events.failures.empty());
  with.nic.complete_all(*with.pair);
  with.run();
}

TEST_CASE("a full queue of which a device tells nothing more is given up, though nothing else is posted") {
  rig with(64, plenty, impatient());
  with.open();
  for (std::uint32_t i = 0; i < 32 && with.channel->takes_slices(); ++i) CHECK(with.post(i, 0, 4096));
  with.channel->flush();
  with.nic.complete(*with.pair, with.pair->posted[9].request.wr_id);
  with.run_until([&] { return !with.events.failures.empty(); });
  CHECK(with.events.failures.size() == 1);
}

TEST_CASE("an idle channel waits for nothing") {
  rig with(64, plenty, impatient());
  with.open();
  CHECK(with.channel->post_message(message(0, 64), counting(64)));
  with.channel->flush();
  with.nic.complete_all(*with.pair);
  with.run();
  const auto handlers_in = [&with](int turns) {
    std::size_t run = 0;
    for (int i = 0; i < turns; ++i) {
      with.context.restart();
      run += with.context.run_for(4ms);
    }
    return run;
  };
  CHECK(handlers_in(30) <= 1); // of the wait that was under way
  CHECK(handlers_in(30) == 0);
  CHECK(with.events.failures.empty());
}

TEST_CASE("what was posted behind the last request that reports its end is asked about") {
  rig with(64, plenty, impatient());
  with.open();
  for (int i = 0; i < 2; ++i) {
    CHECK(with.channel->post_message(message(static_cast<std::uint32_t>(i), 0), {}));
    with.channel->flush();
  }
  REQUIRE(with.pair->posted.size() == 2);
  with.nic.complete(*with.pair, with.pair->posted[0].request.wr_id);
  with.run();
  with.run_until([&] { return with.pair->posted.size() > 2; });
  const auto& probe = with.pair->posted.back().request;
  CHECK(probe.opcode == IBV_WR_RDMA_WRITE);
  CHECK(probe.num_sge == 0);
  CHECK((probe.send_flags & IBV_SEND_SIGNALED) != 0);
  CHECK(with.events.failures.empty());
  with.run_until([&] { return !with.events.failures.empty(); });
  CHECK(with.pair->posted.size() == 3);
}

TEST_CASE("a device that has told is not given up because this thread did not read it in time") {
  rig with(64, plenty, impatient());
  with.open();
  for (std::uint32_t i = 0; i < 8; ++i) CHECK(with.post(i, 0, 4096));
  with.channel->flush();
  // The wait that began as the channel was opened has seen progress; another one begins behind it.
  with.context.restart();
  CHECK(with.context.run_one() > 0);
  std::this_thread::sleep_for(200ms); // stopped, say
  with.nic.complete_all(*with.pair);
  for (int i = 0; i < 5; ++i) {
    with.context.restart();
    with.context.poll(); // the timer before the completion queue
  }
  CHECK(with.events.failures.empty());
  CHECK(with.events.slices_sent == 8);
}

TEST_CASE("a silence is judged while others fill the completion queue without a pause") {
  constexpr std::uint64_t without_end = 10'000'000;
  rig with(64, plenty, impatient());
  with.open();
  CHECK(with.channel->post_message(message(0, 64), counting(64)));
  with.channel->flush();
  with.nic.others = without_end;
  with.run_until([&] { return !with.events.failures.empty(); });
  const auto read = without_end - std::exchange(with.nic.others, 0);
  CHECK(read > 0);
  CHECK(read < 10 * static_cast<std::uint64_t>(with.nic.capacity));
}
