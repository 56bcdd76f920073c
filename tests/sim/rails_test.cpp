// One transfer over two rails of unequal speed: it takes from each what that carries.
#include "job.hpp"
#include "node.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

using namespace weft;
using namespace weft::sim;

namespace {

constexpr std::uint64_t length = 64 << 20;

/// Takes a write of what `expected` is the checksum of.
struct sink final : service {
  explicit sink(world& in) : within(in) {}
  void arrived(endpoint& at, links::engine& engine, const links::incoming& begun) override {
    auto& to = within.memory.add(within.random, begun.terms.length);
    at.grant(begun.terms.carries, begun.id, to.pieces());
    engine.accept_write(begun.id, to.pieces(),
                        std::make_unique<end_told>([this, &to, &engine, id = begun.id](links::outcome&&) {
                          CHECK(to.crc(0, length) == expected);
                          engine.respond(id, {}, "", {});
                        }));
  }
  world& within;
  std::uint32_t expected = 0;
};

/// Bytes per second of a write over as many streams as there are rates, each on a rail of its own.
double rate_over(const std::vector<std::uint64_t>& rates) {
  world all(1);
  sink takes(all);
  all.serves = &takes;
  all.limits.lane_bulk_channels = static_cast<std::uint32_t>(rates.size());
  all.terms.delay = std::chrono::microseconds(10);
  all.terms.queue = all.terms.window = 1 << 20;
  all.rail_rates = rates;
  for (const auto* name : {"a", "b"}) all.nodes.try_emplace(name, all, name);
  const auto at = all.nodes.at("a").link_to("b", false);
  auto& from = all.memory.add(all.random, length);
  from.pieces().for_each(0, length, [&all](std::span<std::byte> part) {
    for (auto& each : part) each = static_cast<std::byte>(all.random.next());
  });
  takes.expected = from.crc(0, length);
  const auto begun = all.time.now();
  std::optional<links::outcome> ended;
  links::operation_request asked;
  asked.kind = wire::operation_kind::write;
  asked.carries = lane::bulk;
  asked.pieces = from.pieces();
  at->run([&] {
    at->engine_of(lane::bulk).start(std::move(asked), std::make_unique<end_told>([&](links::outcome&& how) {
                                      ended = std::move(how);
                                    }));
  });
  while (!ended && all.time.now() < begun + std::chrono::seconds(60) && all.time.step()) {
  }
  REQUIRE(ended);
  CHECK(!ended->code);
  CHECK(all.failure == "");
  return static_cast<double>(length) / std::chrono::duration<double>(all.time.now() - begun).count();
}

} // namespace

TEST_CASE("two rails carry nearly what both carry alone, where one is up to four times as fast") {
  constexpr std::uint64_t fast = 1'000'000'000;
  for (const std::uint64_t slow : {500'000'000, 250'000'000, 50'000'000}) {
    const auto alone = rate_over({fast}) + rate_over({slow});
    const auto both = rate_over({fast, slow});
    fmt::print("{} and {} MB/s: {:.3f} of their sum\n", fast / 1'000'000, slow / 1'000'000, both / alone);
    // Where they differ more, what the slow one still has at the end is much of the whole time.
    if (slow * 4 >= fast) CHECK(both >= 0.95 * alone);
  }
}
