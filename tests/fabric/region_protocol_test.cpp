#include "fabric/region_protocol.hpp"

#include <doctest/doctest.h>

#include <random>

using namespace weft;
using namespace weft::fabrics;

TEST_CASE("pieces of one pattern become one run") {
  std::vector<run> runs;
  for (std::uint64_t i = 0; i < 1000; ++i) append(runs, 7 + i * 100, 10);
  CHECK(runs == std::vector<run>{{7, 10, 100, 1000}});
  append(runs, 5, 0);
  CHECK(runs.size() == 1);
  append(runs, 3, 10); // backwards
  append(runs, 50, 20);
  CHECK(runs.size() == 3);
}

TEST_CASE("any list of pieces is what its runs say") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
    std::vector<run> runs;
    for (int i = 0; i < 50; ++i) {
      pieces.emplace_back(random() % 20, random() % 3 + 1);
      append(runs, pieces.back().first, pieces.back().second);
    }
    std::vector<std::pair<std::uint64_t, std::uint64_t>> said;
    for (const auto& each : runs) {
      for (std::uint64_t i = 0; i < each.count; ++i) said.emplace_back(each.begin + i * each.stride, each.length);
    }
    CHECK(said == pieces);
  }
}

TEST_CASE("an access is read as it was written") {
  const region_access access{9, {{1, 2, 3, 4}, {5, 6, 0, 1}}, {std::byte{7}, std::byte{8}}};
  CHECK(decode_access(encode(access)).value() == access);
  CHECK(decode_open(encode_open("name")).value() == "name");
  const remote_region region{4, 5, rights::write, {}};
  const auto opened = decode_opened(encode_opened(region)).value();
  CHECK(opened.id == 4);
  CHECK(opened.size == 5);
  CHECK(opened.allowed == rights::write);
}

TEST_CASE("an access that is cut short anywhere is refused") {
  const auto whole = encode(region_access{9, {{1, 2, 3, 4}, {5, 6, 0, 1}}, {}});
  for (std::size_t length = 0; length < whole.size(); ++length) {
    CHECK(decode_access(std::span(whole).first(length)).has_error());
  }
  const auto name = encode_open("a name");
  for (std::size_t length = 0; length < name.size(); ++length) {
    CHECK(decode_open(std::span(name).first(length)).has_error());
  }
}

TEST_CASE("runs whose bounds cannot be computed are refused") {
  constexpr auto huge = ~std::uint64_t{0};
  for (const auto& bad : {run{0, 0, 0, 1}, run{0, 1, 1, 0}, run{huge, 1, 0, 1}, run{0, huge, 0, 1}, run{0, 1, huge, 2},
                          run{0, 1, 1, huge}, run{0, 1, 1, 65537}, run{0, huge / 2, 0, 3}}) {
    CHECK(decode_access(encode(region_access{1, {bad}, {}})).has_error());
  }
  CHECK(decode_access(encode(region_access{1, std::vector<run>(most_runs + 1, run{0, 1, 0, 1}), {}})).has_error());
  CHECK(decode_access(encode(region_access{1, std::vector<run>(2, run{0, 1, 1, 40000}), {}})).has_error());
  CHECK(decode_access(encode(region_access{1, {}, std::vector<std::byte>(most_notify + 1)})).has_error());
}

TEST_CASE("pieces that overlap are runs of their own, as in a grant") {
  std::vector<fabrics::run> runs;
  for (std::uint64_t i = 0; i < 10; ++i) fabrics::append(runs, i * 50, 100);
  CHECK(runs.size() == 10);
  runs.clear();
  for (std::uint64_t i = 0; i < 10; ++i) fabrics::append(runs, i * 100, 100);
  CHECK(runs.size() == 1);
}
