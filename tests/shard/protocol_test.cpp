#include "shard/protocol.hpp"

#include "base/crc32c.hpp"

#include <doctest/doctest.h>

using namespace weft;
using namespace weft::shards;

namespace {

const id128 version{1, 2};

} // namespace

TEST_CASE("a command is read as it was written") {
  const command whole{.what = verb::put_chunk,
                      .name = "name",
                      .after = "after",
                      .version = version,
                      .number = 3,
                      .offset = 4,
                      .crcs = {5, 6}};
  CHECK(decode_command(encode(whole)).value() == whole);
  const command least{.what = verb::stat};
  CHECK(decode_command(encode(least)).value() == least);
}

TEST_CASE("a command cut short, with a verb that is none or with too many CRCs is refused") {
  const auto bytes = encode(command{.what = verb::read, .name = "name", .version = version, .crcs = {1, 2}});
  std::size_t refused = 0;
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    refused += decode_command(std::span(bytes).first(length)).has_error() ? 1 : 0;
  }
  CHECK(refused >= bytes.size() - 2); // without its CRCs, one by one, it is whole as well
  auto other = bytes;
  other[0] = std::byte{0};
  CHECK(decode_command(other).has_error());
  other[0] = std::byte{200};
  CHECK(decode_command(other).has_error());
  command many{.what = verb::put_chunk};
  many.crcs.resize(most_crcs + 1);
  CHECK(decode_command(encode(many)).has_error());
}

TEST_CASE("an answer is read as it was written") {
  const answer whole{.version = version, .size = 7, .bad_blocks = {1, 5, 9}};
  CHECK(decode_answer(encode(whole)).value() == whole);
  CHECK(decode_answer({}).has_error());
}

TEST_CASE("a page leaves out what does not fit, and says that there is more") {
  shard_page page;
  for (int i = 0; i < 1000; ++i) page.shards.push_back({std::string(200, 'a') + std::to_string(i), version, 5});
  const auto bytes = encode(page);
  CHECK(bytes.size() <= largest_page + 1);
  const auto got = decode_page(bytes).value();
  CHECK(got.more);
  REQUIRE(!got.shards.empty());
  CHECK(got.shards.size() < 1000);
  CHECK(got.shards.back().name == page.shards[got.shards.size() - 1].name);
  page.shards.resize(3);
  CHECK_FALSE(decode_page(encode(page)).value().more);
}

TEST_CASE("a page with a name that no shard can have is refused") {
  for (const auto* name : {"", "a\x1b[2J", "../a"}) {
    shard_page page;
    page.shards = {{"good", version, 5}, {name, version, 5}};
    CHECK(decode_page(encode(page)).error() == errc::protocol_error);
  }
}

TEST_CASE("the CRCs of slices come from those of their blocks") {
  std::vector<std::byte> bytes(5 * block_size + 100);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i ^ i >> 9);
  manifest of;
  of.size = bytes.size();
  for (std::size_t at = 0; at < bytes.size(); at += block_size) {
    of.block_crcs.push_back(crc32c(std::span(bytes).subspan(at, std::min<std::size_t>(block_size, bytes.size() - at))));
  }
  const auto crcs = of.slice_crcs(block_size, bytes.size() - block_size, 2 * block_size);
  REQUIRE(crcs.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto at = block_size + i * 2 * block_size;
    CHECK(crcs[i] == crc32c(std::span(bytes).subspan(at, std::min<std::size_t>(2 * block_size, bytes.size() - at))));
  }
}
