// What lanes promise, in a small cluster in virtual time: perf/simulate-lanes has a large one, and what is not reached
// yet.
#include "cluster.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <numeric>
#include <vector>

using namespace weft;
using namespace weft::tests;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t storage = 2;
constexpr std::size_t trainers = 8;

struct measured {
  double p99 = 0;       ///< of realtime, beside bulk, in that of realtime alone
  double used = 0;      ///< by bulk, of what storage can send
  double slow_used = 0; ///< of what the first trainer can take
};

struct setting {
  double gbits = 100;
  double slow = 1; ///< rate of the first trainer, in that of the others
  bool realtime_first = false;
  bool silent = false; ///< the first trainer never tells what has landed
};

measured measure(const setting& with) {
  measured found;
  double alone = 0;
  for (const bool mixed : {false, true}) {
    cluster_options options;
    options.realtime_first = with.realtime_first;
    options.gbits.assign(storage + trainers, with.gbits);
    options.gbits[storage] *= with.slow;
    cluster on(options);
    for (std::size_t each = 0; each < storage; ++each) on.ask(storage + 1 + each, each, 2000);
    if (with.silent) on.tells_nothing(storage);
    for (std::size_t i = 0; mixed && i < trainers; ++i) on.pull(storage + i, {0, 1}, 8);
    on.run(200ms); // to learn
    on.run(50ms);
    const auto p99 = static_cast<double>(on.latencies().quantile(0.99).count());
    if (!mixed) alone = p99;
    found = {p99 / alone, (on.used_out(0) + on.used_out(1)) / 2, on.used_in(storage)};
  }
  return found;
}

} // namespace

TEST_CASE("realtime beside readers takes at most twice as long, and bulk has nearly all of the links") {
  for (const double gbits : {100, 400}) {
    CAPTURE(gbits);
    const auto found = measure({.gbits = gbits});
    CHECK(found.p99 <= 2);
    CHECK(found.used >= 0.95);
  }
}

TEST_CASE("where the network lets realtime pass it is as fast as alone") {
  const auto found = measure({.realtime_first = true});
  CHECK(found.p99 <= 1.25);
  CHECK(found.used >= 0.97);
}

TEST_CASE("a slow receiver costs the others nothing, and gets what it can take") {
  const auto found = measure({.slow = 0.1});
  CHECK(found.p99 <= 2);
  CHECK(found.used >= 0.95);
  CHECK(found.slow_used >= 0.9);
}

TEST_CASE("a peer that never tells what has landed costs the others nothing") {
  const auto found = measure({.silent = true});
  CHECK(found.p99 <= 2);
  CHECK(found.used >= 0.95);
}

namespace {

/// Many nodes send to few, which are asked and answer meanwhile.
struct incast {
  std::size_t receivers;
  std::size_t senders;
  std::size_t depth; ///< chunks that each receiver has asked for
};

measured measure(const incast& with, double gbits) {
  measured found;
  double alone = 0;
  for (const bool mixed : {false, true}) {
    cluster_options options;
    options.gbits.assign(with.receivers + with.senders, gbits);
    cluster on(options);
    std::vector<std::size_t> sources(with.senders);
    std::iota(sources.begin(), sources.end(), with.receivers);
    for (std::size_t each = 0; each < with.receivers; ++each) {
      on.ask(with.receivers + each, each, 2000);
      if (mixed) on.pull(each, sources, with.depth);
    }
    on.run(300ms); // to learn
    on.run(50ms);
    const auto p99 = static_cast<double>(on.latencies().quantile(0.99).count());
    if (!mixed) alone = p99;
    found = {p99 / alone, on.used_in(0), 0};
  }
  return found;
}

} // namespace

TEST_CASE("what many send to one does not stand before the realtime traffic there") {
  for (const double gbits : {100, 400}) {
    CAPTURE(gbits);
    const auto found = measure({.receivers = 1, .senders = 12, .depth = 48}, gbits);
    CHECK(found.p99 <= 2);
    CHECK(found.used >= 0.95);
  }
}

TEST_CASE("what many send to few does not either") {
  const auto found = measure({.receivers = 3, .senders = 12, .depth = 32}, 100);
  CHECK(found.p99 <= 2);
  CHECK(found.used >= 0.95);
}
