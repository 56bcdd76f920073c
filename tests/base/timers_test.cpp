// The heap of timers always knows the earliest, however they are set, moved and removed.
#include "base/timers.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>

using namespace weft;

namespace {

time_point at(std::uint64_t ticks) {
  return time_point{} + duration(ticks);
}

} // namespace

TEST_CASE("an empty heap is never due") {
  timer_heap heap;
  CHECK(heap.next() == time_point::max());
  CHECK(heap.first() == nullptr);
}

TEST_CASE("the earliest comes first, also after it was moved or removed") {
  timer_heap heap;
  timed a, b, c;
  heap.set(a, at(30));
  heap.set(b, at(10));
  heap.set(c, at(20));
  CHECK(heap.first() == &b);
  heap.set(b, at(40));
  CHECK(heap.first() == &c);
  heap.remove(c);
  CHECK(heap.first() == &a);
  heap.remove(c);
  heap.set(a, time_point::max());
  CHECK(heap.first() == &b);
  heap.remove(b);
  CHECK(heap.next() == time_point::max());
}

TEST_CASE("any history of changes leaves the earliest first") {
  timer_heap heap;
  std::array<timed, 64> entries;
  std::array<time_point, 64> due;
  due.fill(time_point::max());
  random_source random(5);
  for (int i = 0; i < 20'000; ++i) {
    const auto index = random.below(entries.size());
    if (random.chance(0.3)) {
      heap.remove(entries[index]);
      due[index] = time_point::max();
    } else {
      due[index] = at(1 + random.below(1000));
      heap.set(entries[index], due[index]);
    }
    const auto earliest = *std::min_element(due.begin(), due.end());
    REQUIRE(heap.next() == earliest);
    if (earliest != time_point::max()) {
      REQUIRE(due[static_cast<std::size_t>(static_cast<const timed*>(heap.first()) - entries.data())] == earliest);
    }
  }
  for (auto& entry : entries) heap.remove(entry);
  CHECK(heap.first() == nullptr);
}
