#include "fabric/worker.hpp"

#include <doctest/doctest.h>

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <future>

using namespace weft;
using namespace weft::fabrics;

namespace {

/// Tells when it is destroyed without having been run.
struct tracked {
  explicit tracked(std::atomic<int>& count) : dropped(&count) {}
  tracked(tracked&& other) noexcept : dropped(std::exchange(other.dropped, nullptr)) {}
  ~tracked() {
    if (dropped != nullptr) ++*dropped;
  }
  void operator()() { dropped = nullptr; }
  std::atomic<int>* dropped;
};

} // namespace

TEST_CASE("work runs on the worker's thread, in order") {
  lanes::host_board host;
  worker on({"test"}, tunables{}, host);
  CHECK_FALSE(on.here());
  std::vector<int> order;
  std::promise<bool> here;
  on.run([&] { order.push_back(1); });
  on.post([&] { order.push_back(2); });
  on.run([&] {
    on.post([&] {
      order.push_back(4);
      here.set_value(on.here());
    });
    on.run([&] { order.push_back(3); }); // at once
  });
  CHECK(here.get_future().get());
  CHECK(order == std::vector{1, 2, 3, 4});
}

TEST_CASE("a worker works the same in every way of waiting") {
  for (const auto mode : {poll_mode::event, poll_mode::adaptive, poll_mode::spin}) {
    CAPTURE(name(mode));
    tunables limits;
    limits.poll = mode;
    lanes::host_board host;
    worker on({"test"}, limits, host);
    on.run([&] { on.channel_opened(); }); // from here on `spin` does not sleep
    for (int i = 0; i < 3; ++i) {
      std::promise<void> ran;
      on.post([&] { ran.set_value(); });
      ran.get_future().wait();
      std::this_thread::sleep_for(2 * limits.poll_spin); // from here on `adaptive` sleeps
    }
    on.run([&] { on.channel_closed(); });
  }
}

TEST_CASE("a thread has its name and processors, and says what it could not have") {
  tunables limits;
  std::string named(16, ' ');
  std::promise<int> processor;
  cpu_set_t mine;
  REQUIRE(::sched_getaffinity(0, sizeof mine, &mine) == 0);
  int allowed = 0;
  while (!CPU_ISSET(allowed, &mine)) ++allowed;
  lanes::host_board host;
  worker on({.name = "odd-name", .cpus = parse_cpu_list(std::to_string(allowed)).value()}, limits, host);
  on.run([&] {
    ::pthread_getname_np(::pthread_self(), named.data(), named.size());
    processor.set_value(::sched_getcpu());
  });
  CHECK(processor.get_future().get() == allowed);
  CHECK(named.starts_with("odd-name"));
  CHECK(on.complaints().empty());

  worker nowhere({.name = "nowhere", .cpus = parse_cpu_list("1023").value()}, limits, host);
  REQUIRE(nowhere.complaints().size() == 1);
  CHECK(nowhere.complaints()[0].find("processors 1023") != std::string::npos);
}

TEST_CASE("a thread has its nice value, or says why not") {
  const auto value_of = [](worker& of) {
    std::promise<int> found;
    of.post([&] { found.set_value(::getpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()))); });
    return found.get_future().get();
  };
  const auto mine = ::getpriority(PRIO_PROCESS, 0);
  lanes::host_board host;
  worker modest({.name = "modest", .nice = 19}, tunables{}, host);
  CHECK(value_of(modest) == 19);
  CHECK(modest.complaints().empty());
  CHECK(::getpriority(PRIO_PROCESS, 0) == mine);
  worker favoured({.name = "favoured", .nice = -20}, tunables{}, host);
  CHECK((value_of(favoured) == -20) == favoured.complaints().empty());
}

TEST_CASE("a thread with a real-time priority sleeps when there is nothing to do, also with poll=spin") {
  tunables limits;
  limits.poll = poll_mode::spin;
  lanes::host_board host;
  worker urgent({.name = "urgent", .priority = 1}, limits, host);
  if (!urgent.complaints().empty()) {
    MESSAGE("skipped: ", urgent.complaints().front());
    return;
  }
  std::promise<int> found;
  urgent.run([&] {
    urgent.channel_opened(); // from here on an ordinary one would not sleep
    found.set_value(::gettid());
  });
  const auto path = "/proc/self/task/" + std::to_string(found.get_future().get()) + "/stat";
  std::string state;
  for (int tries = 0; tries < 10'000 && state != "S"; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::string skipped;
    std::ifstream(path) >> skipped >> skipped >> state;
  }
  CHECK(state == "S");
  urgent.run([&] { urgent.channel_closed(); });
}

TEST_CASE("what was queued before the stop still runs, what comes behind it is destroyed") {
  std::atomic<int> dropped = 0;
  std::atomic<int> ran = 0;
  lanes::host_board host;
  worker on({"test"}, tunables{}, host);
  for (int i = 0; i < 100; ++i) on.post([&] { ++ran; });
  on.stop();
  CHECK(ran == 100);
  on.post(tracked(dropped));
  on.run(tracked(dropped));
  CHECK(dropped == 2);
  on.stop();
}

TEST_CASE("nothing is lost between a stop and the posts of other threads") {
  for (int round = 0; round < 50; ++round) {
    std::atomic<int> dropped = 0;
    std::atomic<int> ran = 0;
    std::atomic<bool> begun = false;
    struct counting : tracked {
      counting(std::atomic<int>& drops, std::atomic<int>& runs) : tracked(drops), counted(&runs) {}
      void operator()() {
        tracked::operator()();
        ++*counted;
      }
      std::atomic<int>* counted;
    };
    {
      lanes::host_board host;
      worker on({"test"}, tunables{}, host);
      std::thread poster([&] {
        for (int i = 0; i < 1000; ++i) {
          on.post(counting(dropped, ran));
          begun = true;
        }
      });
      while (!begun) std::this_thread::yield();
      on.stop();
      poster.join();
    }
    CHECK(ran + dropped == 1000);
  }
}
