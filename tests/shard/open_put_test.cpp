// Which blocks of a put are under way: nobody else gets them, and a commit sees them, until they have landed.
#include "shard/open_put.hpp"

#include <doctest/doctest.h>

using namespace weft::shards;

TEST_CASE("blocks that are under way are nobody else's, and their neighbours are free") {
  const auto put = std::make_shared<open_put>();
  const auto held = claimed_blocks::claim(put, {4, 8});
  REQUIRE(held);
  for (const block_span overlapping : {block_span{4, 8}, block_span{0, 5}, block_span{7, 9}, block_span{5, 6}}) {
    CHECK_FALSE(claimed_blocks::claim(put, overlapping));
  }
  CHECK(claimed_blocks::claim(put, {0, 4}));
  CHECK(claimed_blocks::claim(put, {8, 9}));
}

TEST_CASE("what is under way is seen until it has landed or is given up") {
  const auto put = std::make_shared<open_put>();
  CHECK(put->claims->empty());
  const auto landing = claimed_blocks::claim(put, {0, 4});
  auto given_up = claimed_blocks::claim(put, {4, 8});
  landing->landed();
  CHECK_FALSE(put->claims->empty());
  given_up.reset();
  CHECK(put->claims->empty());
  CHECK(claimed_blocks::claim(put, {0, 8}));
}

TEST_CASE("having landed twice frees nobody else's blocks") {
  const auto put = std::make_shared<open_put>();
  auto first = claimed_blocks::claim(put, {0, 4});
  first->landed();
  const auto second = claimed_blocks::claim(put, {0, 4});
  REQUIRE(second);
  first.reset();
  CHECK_FALSE(put->claims->empty());
}

TEST_CASE("what is under way does not keep a put that is over") {
  auto put = std::make_shared<open_put>();
  const auto late = claimed_blocks::claim(put, {0, 4});
  CHECK(late->put() == put);
  put.reset();
  CHECK_FALSE(late->put());
  late->landed();
}
