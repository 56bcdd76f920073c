// Those with a deadline go first, and nobody starves.
#include "lane/turns.hpp"

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <vector>

using namespace weft;
using namespace weft::lanes;

namespace {

struct entry : turn {};

time_point at(std::uint64_t ticks) {
  return time_point{} + duration(ticks);
}

constexpr auto never = time_point::max();

} // namespace

TEST_CASE("those without a deadline take turns") {
  turns<entry> all;
  entry a, b;
  all.add(a, never);
  all.add(b, never);
  CHECK(all.earliest() == nullptr);
  for (auto* expected : {&a, &b, &a}) {
    CHECK(&all.front() == expected);
    all.end_turn(*expected);
  }
  all.add(b, never); // it keeps its turn
  CHECK(&all.front() == &b);
  all.remove(b);
  CHECK(&all.front() == &a);
  all.remove(a);
  all.remove(a);
  CHECK(all.empty());
}

TEST_CASE("the earliest deadline goes first, and every eighth turn is of those that have none") {
  turns<entry> all;
  entry plain, other, late, soon;
  all.add(plain, never);
  all.add(other, never);
  all.add(late, at(20));
  all.add(soon, at(10));
  CHECK(all.earliest() == &soon);
  std::vector<const entry*> served;
  for (int i = 0; i < 16; ++i) {
    served.push_back(&all.front());
    all.end_turn(all.front());
  }
  CHECK(std::count(served.begin(), served.end(), &soon) == 14);
  CHECK(served[7] == &plain);
  CHECK(served[15] == &other);
  all.remove(soon);
  CHECK(&all.front() == &late);
}

TEST_CASE("a deadline may come, change and go while its owner waits") {
  turns<entry> all;
  entry a, b;
  all.add(a, at(10));
  all.add(b, never);
  all.add(b, at(5));
  CHECK(&all.front() == &b);
  all.add(b, at(15));
  CHECK(&all.front() == &a);
  all.add(a, never);
  CHECK(&all.front() == &b);
  all.remove(b);
  CHECK(&all.front() == &a);
  all.remove(a);
  CHECK(all.empty());
}

TEST_CASE("whatever comes and goes, the next one is the earliest, or one without a deadline after seven that had one") {
  rc::check([] {
    turns<entry> all;
    std::array<entry, 12> entries;
    std::array<time_point, 12> wanted{};
    std::vector<std::size_t> waiting; ///< those without a deadline in their order, and the others anywhere
    std::uint32_t in_a_row = 0;
    const auto leave = [&](std::size_t which) { std::erase(waiting, which); };
    for (int step = 0; step < 200; ++step) {
      const auto which = *rc::gen::inRange<std::size_t>(0, entries.size());
      switch (*rc::gen::inRange(0, 4)) {
        case 0: {
          const auto deadline = *rc::gen::oneOf(
              rc::gen::just(never),
              rc::gen::map(rc::gen::inRange(1, 1000), [](int ticks) { return at(static_cast<std::uint64_t>(ticks)); }));
          const bool keeps =
              std::count(waiting.begin(), waiting.end(), which) > 0 && wanted[which] == never && deadline == never;
          if (!keeps) leave(which);
          if (!keeps) waiting.push_back(which);
          all.add(entries[which], wanted[which] = deadline);
          break;
        }
        case 1:
          leave(which);
          all.remove(entries[which]);
          break;
        default:
          if (waiting.empty()) break;
          auto& first = all.front();
          const auto chosen = static_cast<std::size_t>(&first - entries.data());
          const auto undated =
              std::find_if(waiting.begin(), waiting.end(), [&](auto each) { return wanted[each] == never; });
          const auto earliest =
              std::min_element(waiting.begin(), waiting.end(), [&](auto a, auto b) { return wanted[a] < wanted[b]; });
          if (wanted[*earliest] != never && (undated == waiting.end() || in_a_row < turns<entry>::dated_turns)) {
            RC_ASSERT(wanted[chosen] == wanted[*earliest]);
            if (undated != waiting.end()) ++in_a_row;
          } else {
            RC_ASSERT(chosen == *undated);
            in_a_row = 0;
          }
          all.end_turn(first);
          if (wanted[chosen] == never) {
            leave(chosen);
            waiting.push_back(chosen);
          }
      }
      RC_ASSERT(all.empty() == waiting.empty());
    }
  });
}
