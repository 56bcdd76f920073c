#include "lane/token_bucket.hpp"

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace weft;
using namespace weft::lanes;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t rate = 10'000'000;

/// How many of 1000 bytes each go from `from` on, when one is tried every 10 us: ten times the rate.
std::uint64_t passed(token_bucket& through, time_point from, duration length) {
  std::uint64_t bytes = 0;
  for (auto now = from; now < from + length; now += 10us) bytes += through.take(1000, rate, now) ? 1000 : 0;
  return bytes;
}

} // namespace

TEST_CASE("what is offered beyond the rate does not go, but for what was saved up") {
  token_bucket bucket;
  const auto begin = time_point{} + 1h;
  const auto first = passed(bucket, begin, 1s);
  CHECK(first >= rate);
  CHECK(first <= rate + rate / 100 + 1000); // 10 ms of it
  CHECK(passed(bucket, begin + 1s, 1s) <= rate + 1000);
  CHECK(passed(bucket, begin + 1h, 10ms) > rate / 100 * 19 / 10); // not an hour's worth
  CHECK(passed(bucket, begin + 2h, 1s) <= rate + rate / 100 + 1000);
}

TEST_CASE("a large one goes, and those behind it wait for as long as it takes") {
  token_bucket bucket;
  auto now = time_point{} + 1h;
  CHECK(bucket.take(rate, rate, now)); // a second's worth
  CHECK_FALSE(bucket.take(1, rate, now + 900ms));
  CHECK(bucket.take(1, rate, now + 1s));
}

TEST_CASE("what was overdrawn at one rate is no debt at another, and never for long") {
  token_bucket bucket;
  const auto now = time_point{} + 1h;
  CHECK(bucket.take(~std::uint64_t{0}, rate, now));
  CHECK_FALSE(bucket.take(1, rate, now + 50s));
  CHECK(bucket.take(1, rate, now + 61s));
  CHECK(bucket.take(100 * rate, rate, now + 61s));
  bucket.forgive();
  CHECK(bucket.take(1, rate, now + 61s));
}

TEST_CASE("without a rate all goes, and costs nothing of a later one") {
  token_bucket bucket;
  const auto now = time_point{} + 1h;
  for (int i = 0; i < 1000; ++i) CHECK(bucket.take(rate, 0, now));
  CHECK(bucket.take(1, rate, now));
}

TEST_CASE("threads that take at once get no more together than one") {
  token_bucket bucket;
  const auto now = time_point{} + 1h;
  std::atomic<std::uint64_t> bytes = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) bytes += bucket.take(1000, rate, now) ? 1000 : 0;
    });
  }
  for (auto& each : threads) each.join();
  CHECK(bytes == rate / 100);
}
