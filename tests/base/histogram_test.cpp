// Quantiles against sorted values, and the ends of the range.
#include "base/histogram.hpp"
#include "base/lag_counters.hpp"

#include "base/random.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

using namespace std::chrono_literals;
using std::chrono::nanoseconds;
using weft::histogram;

namespace {

double relative_error(nanoseconds got, nanoseconds want) {
  return std::abs(static_cast<double>((got - want).count())) / static_cast<double>(want.count());
}

} // namespace

TEST_CASE("an empty histogram answers zero") {
  const histogram empty;
  CHECK(empty.count() == 0);
  CHECK(empty.min() == 0ns);
  CHECK(empty.max() == 0ns);
  CHECK(empty.mean() == 0ns);
  CHECK(empty.quantile(0.5) == 0ns);
}

TEST_CASE("one value is within one percent, from a nanosecond to over an hour") {
  for (double value = 1; value < 4e12; value *= 1.01) {
    const nanoseconds want{static_cast<std::int64_t>(value)};
    histogram one;
    one.record(want);
    one.record(want * 1000); // so that the answer is the bucket's and not clamped to the maximum
    REQUIRE(relative_error(one.quantile(0.5), want) <= 0.01);
  }
}

TEST_CASE("small values are exact") {
  for (int value = 0; value < 128; ++value) {
    histogram one;
    one.record(nanoseconds{value});
    one.record(1s);
    REQUIRE(one.quantile(0.5) == nanoseconds{value});
  }
}

TEST_CASE("quantiles are within one percent of the sorted values'") {
  weft::random_source random{7};
  std::vector<nanoseconds> values;
  histogram all;
  for (int i = 0; i < 20'000; ++i) {
    const double exponent = static_cast<double>(random.below(1000)) / 100; // 1 us .. 10^10 times that is too long
    const nanoseconds value{static_cast<std::int64_t>(1000 * std::pow(10, exponent / 2))};
    values.push_back(value);
    all.record(value);
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * 20'000)) - 1;
    CAPTURE(share);
    CHECK(relative_error(all.quantile(share), values[rank]) <= 0.01);
  }
  CHECK(all.quantile(0) == values.front());
  CHECK(all.quantile(1) == values.back());
  CHECK(all.min() == values.front());
  CHECK(all.max() == values.back());
}

TEST_CASE("the mean is exact") {
  histogram values;
  for (const auto value : {10ns, 20ns, 1000000ns}) {
    values.record(value);
  }
  CHECK(values.mean() == nanoseconds{333343});
}

TEST_CASE("values beyond the range keep the extremes true") {
  histogram values;
  values.record(-5s);
  values.record(nanoseconds::max());
  CHECK(values.count() == 2);
  CHECK(values.min() == 0ns);
  CHECK(values.max() == nanoseconds::max());
  CHECK(values.quantile(0.5) == 0ns);
}

TEST_CASE("merging is the same as recording all in one") {
  weft::random_source random{8};
  histogram left;
  histogram right;
  histogram both;
  for (int i = 0; i < 1000; ++i) {
    const nanoseconds value{static_cast<std::int64_t>(random.below(1'000'000'000))};
    (i % 3 == 0 ? left : right).record(value);
    both.record(value);
  }
  left.merge(right);
  left.merge(histogram{});
  CHECK(left.count() == both.count());
  CHECK(left.mean() == both.mean());
  for (const double share : {0.0, 0.1, 0.5, 0.99, 1.0}) {
    CHECK(left.quantile(share) == both.quantile(share));
  }
}

TEST_CASE("a cleared histogram is empty again") {
  histogram values;
  values.record(1s);
  values.clear();
  CHECK(values.count() == 0);
  CHECK(values.max() == 0ns);
}

TEST_CASE("lags are counted by the power of two that they lie below") {
  weft::lag_counters counters;
  for (const auto lag : {-5us, 0us, 1us, 3us, 4us}) counters.record(lag);
  counters.record(999ns);
  counters.record(1h);
  weft::lag_metrics found;
  counters.add_to(found);
  CHECK(found.counts[0] == 3);
  CHECK(found.counts[1] == 1);
  CHECK(found.counts[2] == 1);
  CHECK(found.counts[3] == 1);
  CHECK(found.counts.back() == 1);
  CHECK(found.total() == 7);
  CHECK(found.below(0) == 0ns);
  CHECK(found.below(0.4) == 1us);
  CHECK(found.below(0.5) == 2us);
  CHECK(found.below(0.85) == 8us);
  CHECK(found.below(1) > 1s);
  CHECK(weft::lag_metrics().below(0.99) == 0ns);
}
