// Order, paging and the cost of the list of names.
#include "shard/catalogue.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <malloc.h>

namespace weft {
namespace {

std::vector<std::string> names(const shard_page& page) {
  std::vector<std::string> all;
  for (const auto& shard : page.shards) {
    all.push_back(shard.name);
  }
  return all;
}

using list = std::vector<std::string>;

catalogue sample() {
  catalogue shards;
  for (const auto* name : {"b/2", "a", "b/1", "b", "b/10", "\xc3\xa9", "Z", "c"}) {
    shards.set(name, {1, 2}, 3);
  }
  return shards;
}

TEST_CASE("names are listed in the order of their bytes") {
  CHECK(names(sample().list("", "", 100)) == list{"Z", "a", "b", "b/1", "b/10", "b/2", "c", "\xc3\xa9"});
}

TEST_CASE("a prefix selects, and pages join without gap or repeat") {
  const auto shards = sample();
  for (std::size_t limit = 1; limit < 6; ++limit) {
    list all;
    std::string after;
    for (bool more = true; more;) {
      const auto page = shards.list("b", after, limit);
      CHECK(page.shards.size() <= limit);
      for (const auto& name : names(page)) {
        all.push_back(name);
      }
      after = all.back();
      more = page.more;
    }
    CHECK(all == list{"b", "b/1", "b/10", "b/2"});
  }
}

TEST_CASE("the place to go on from needs not exist, nor to have the prefix") {
  const auto shards = sample();
  CHECK(names(shards.list("b/", "b/15", 10)) == list{"b/2"});
  CHECK(names(shards.list("b/", "a", 1)) == list{"b/1"});
  CHECK(names(shards.list("b/", "c", 10)).empty());
  CHECK(names(shards.list("x", "", 10)).empty());
  CHECK(shards.list("b", "", 0).more);
  CHECK_FALSE(shards.list("x", "", 0).more);
}

TEST_CASE("a name that is set again has the new version, once") {
  auto shards = sample();
  const auto before = shards.size();
  shards.set("a", {5, 6}, 7);
  CHECK(shards.size() == before);
  CHECK(shards.find("a") == shard_info{"a", {5, 6}, 7});
  CHECK_FALSE(shards.find("aa"));
}

TEST_CASE("100,000 shards cost far less than 32 MiB") {
  const auto before = mallinfo2().uordblks;
  catalogue shards;
  for (unsigned i = 0; i < 100'000; ++i) {
    shards.set(fmt::format("imagenet/train/shard-{:06}.tar", i), {i, i}, i);
  }
  const auto grown = mallinfo2().uordblks - before;
  CHECK(shards.size() == 100'000);
  if (grown == 0) {
    MESSAGE("memory not measured: this build's allocator does not count");
    return;
  }
  CHECK(grown < (24u << 20));
}

} // namespace
} // namespace weft
