// Thousands of seeded scenarios. WEFT_SIM_SEED=n replays one with a trace, WEFT_SIM_WITHOUT=f3,j7 without these faults
// and operations of it; WEFT_SIM_SEEDS=n runs so many.
#include "scenario.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <sstream>
#include <string>

using namespace weft;
using namespace weft::sim;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t default_seeds = 1000;
#else
constexpr std::uint64_t default_seeds = 20'000;
#endif
/// Of so many all that can happen must have happened so often.
constexpr std::uint64_t seeds_that_meet_all = 20'000;
constexpr std::uint64_t often = 100;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

std::set<std::string, std::less<>> left_out() {
  std::set<std::string, std::less<>> parts;
  const char* text = std::getenv("WEFT_SIM_WITHOUT");
  std::istringstream words(text == nullptr ? "" : text);
  for (std::string part; std::getline(words, part, ',');) parts.insert(part);
  return parts;
}

/// A failing seed without what it fails without: each fault and operation is left out in turn, again as long as that
/// helps, as each that is left out changes what chance makes of the others.
options shrunk(std::uint64_t seed, options how) {
  for (std::size_t before = how.without.size() + 1; before != how.without.size();) {
    before = how.without.size();
    for (const auto& part : scenario(seed, how).parts()) {
      auto less = how;
      if (less.without.insert(part).second && !scenario(seed, less).run().empty()) how = less;
    }
  }
  return how;
}

} // namespace

TEST_CASE("every promise holds under every seed") {
  const bool one = std::getenv("WEFT_SIM_SEED") != nullptr;
  const auto first = number_from("WEFT_SIM_SEED", 1);
  const auto count = one ? 1 : number_from("WEFT_SIM_SEEDS", default_seeds);
  tally total;
  const auto begun = std::chrono::steady_clock::now();
  for (auto seed = first; seed < first + count; ++seed) {
    scenario run(seed, {.traces = one, .without = left_out()});
    const auto broken = run.run();
    total += run.counted();
    if (broken.empty()) continue;
    fmt::print("seed {}: {}\n", seed, broken);
    std::fflush(stdout); // what is left out may end in a crash
    const auto least = shrunk(seed, {.without = left_out()});
    FAIL("seed " << seed << ": " << broken << "; without what does not matter: " << scenario(seed, least).run()
                 << "; replay: WEFT_SIM_SEED=" << seed << " WEFT_SIM_WITHOUT="
                 << fmt::format("{}", fmt::join(least.without, ",")) << " meson test -C build --suite sim -v");
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  fmt::print(
      "{} seeds in {:.1f} s, {:.0f} seeds/s: {} events, {} links, {} operations of which {} succeeded, {} slices "
      "verified, {} resent, {} refused, {} forced fences, {} collateral\n",
      count, took.count(), static_cast<double>(count) / took.count(), total.events, total.links, total.operations,
      total.succeeded, total.slices_verified, total.slices_resent, total.slices_refused, total.forced_fences,
      total.collateral);
  fmt::print("{}\n", total.met.text());
  if (count < seeds_that_meet_all) {
    fmt::print("too few seeds to say what they did not meet: {} do\n", seeds_that_meet_all);
  } else {
    CHECK(total.met.lacking(often) == "");
  }
}

TEST_CASE("equal seeds give equal histories") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    scenario left(seed, {});
    scenario right(seed, {});
    CHECK(left.run() == right.run());
    CHECK(left.counted().events == right.counted().events);
    CHECK(left.counted().slices_verified == right.counted().slices_verified);
  }
}

TEST_CASE("channels that do not wait for late payload when they are closed are found out") {
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= 300 && found == 0; ++seed) {
    scenario run(seed, {.skips_fence = true});
    const auto broken = run.run();
    if (broken.find("after its transfer was over") != std::string::npos) found = seed;
  }
  REQUIRE(found > 0);
  const auto least = shrunk(found, {.skips_fence = true});
  CHECK(scenario(found, least).run() != "");
  fmt::print("seed {}, {} parts, without {}\n", found, scenario(found, least).parts().size(),
             fmt::join(least.without, ","));
  CHECK(2 * least.without.size() > scenario(found, least).parts().size());
}
