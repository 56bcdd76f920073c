// Thousands of seeded scenarios. WEFT_SIM_SEED=n replays one with a trace, WEFT_SIM_SEEDS=n runs so many.
#include "scenario.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>

using namespace weft;
using namespace weft::sim;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t default_seeds = 1000;
#else
constexpr std::uint64_t default_seeds = 10'000;
#endif

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

} // namespace

TEST_CASE("every promise holds under every seed") {
  const bool one = std::getenv("WEFT_SIM_SEED") != nullptr;
  const auto first = number_from("WEFT_SIM_SEED", 1);
  const auto count = one ? 1 : number_from("WEFT_SIM_SEEDS", default_seeds);
  tally total;
  const auto begun = std::chrono::steady_clock::now();
  for (auto seed = first; seed < first + count; ++seed) {
    scenario run(seed, {.traces = one});
    const auto broken = run.run();
    total += run.counted();
    if (!broken.empty())
      FAIL("seed " << seed << ": " << broken << "; replay: WEFT_SIM_SEED=" << seed
                   << " meson test -C build --suite sim -v");
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  fmt::print(
      "{} seeds in {:.1f} s, {:.0f} seeds/s: {} events, {} links, {} operations of which {} succeeded, {} slices "
      "verified, {} resent, {} refused, {} forced fences, {} collateral\n",
      count, took.count(), static_cast<double>(count) / took.count(), total.events, total.links, total.operations,
      total.succeeded, total.slices_verified, total.slices_resent, total.slices_refused, total.forced_fences,
      total.collateral);
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
  int found = 0;
  for (std::uint64_t seed = 1; seed <= 300 && found == 0; ++seed) {
    scenario run(seed, {.skips_fence = true});
    const auto broken = run.run();
    if (broken.find("after its transfer was over") != std::string::npos) ++found;
  }
  CHECK(found > 0);
}
