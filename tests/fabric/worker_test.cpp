#include "fabric/worker.hpp"

#include <doctest/doctest.h>

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
  worker on("test", tunables{});
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

TEST_CASE("what was queued before the stop still runs, what comes behind it is destroyed") {
  std::atomic<int> dropped = 0;
  std::atomic<int> ran = 0;
  worker on("test", tunables{});
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
      worker on("test", tunables{});
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
