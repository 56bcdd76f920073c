#include "pair.hpp"

#include <doctest/doctest.h>

#include <algorithm>

using namespace weft;
using namespace weft::tests;
namespace asio = boost::asio;

TEST_CASE("a write places exactly the bytes in the published region") {
  pair both;
  buffer target(both.server, 8 << 20);
  buffer source(both.client, 8 << 20);
  fill(source.bytes(), 1);
  both.server.publish(target.memory, "target", rights::read_write).value();
  const auto remote = both.link.open("target", asio::use_future).get();
  CHECK(remote.size == target.bytes().size());
  const auto written = both.link.write(source.memory, remote.all(), {}, asio::use_future).get();
  CHECK(written.bytes == source.bytes().size());
  CHECK(std::ranges::equal(source.bytes(), target.bytes()));

  buffer back(both.client, 8 << 20);
  const auto read = both.link.read(remote.all(), back.memory, {}, asio::use_future).get();
  CHECK(read.bytes == back.bytes().size());
  CHECK(std::ranges::equal(source.bytes(), back.bytes()));
}
