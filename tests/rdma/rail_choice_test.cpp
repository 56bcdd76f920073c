// Which rails and GIDs a fabric uses, and what the two ends of a queue pair settle between them, over a network in this
// process.
#include "rdma/pair_of_fabrics.hpp"

#include <weft/inspect.hpp>

#include <string_view>

using namespace weft;
using namespace weft::tests;
using namespace std::chrono_literals;

TEST_CASE("a host's rails are listed with what they have, and why one is not used") {
  const fake_network network;
  const auto host = inspect_host(config{});
  REQUIRE(host.rails.size() == 2);
  CHECK(host.rails[1].name == "fake1:1");
  CHECK(host.rails[1].state == "active");
  CHECK(host.rails[1].mtu == 4096);
  CHECK(host.rails[1].why_not == "");
  REQUIRE(host.rails[1].gids.size() == 3);
  CHECK(host.rails[1].gids[0].why_not == "it cannot be routed");
  CHECK(host.rails[1].gids[1].why_not == "it is not RoCE v2");
  CHECK(host.rails[1].gids[2].address == "10.77.1.1");
  CHECK(host.rails[1].gids[2].type == "RoCE v2");
  CHECK(host.rails[1].gids[2].why_not == "");
}

TEST_CASE("only the rails are used that verbs.rails names, and what it names in vain is said") {
  fake_network network;
  const clean_end then{network};
  for (const auto* list : {"fake1", "^fake0", "fake1:1", "fake1:1:2,fake7"}) {
    CAPTURE(list);
    const auto before = network.requests(0);
    pair_of_fabrics both({{"transport", "verbs"}, {"verbs.rails", list}, {"lane.bulk.channels", "2"}});
    both.connect();
    CHECK(both.write() == error_code());
    CHECK(both.arrived());
    CHECK(network.requests(0) == before);
    CHECK(network.requests(1) > 0);
    CHECK(both.logged("rail fake0:1 is not used: verbs.rails=" + std::string(list) + " leaves it out"));
    CHECK(both.logged("rail fake7 is not used: verbs.rails names it, and this host has no such") ==
          std::string_view(list).ends_with("fake7"));
    both.here = {}, both.there = {}, both.target = {};
  }
  config settings;
  settings.set("verbs.rails", "fake0,fake1:1:1").value();
  const auto host = inspect_host(settings);
  CHECK(host.rails[0].why_not == "");
  CHECK(host.rails[1].why_not.find("its GID index 1, which verbs.rails names, is no RoCE v2 address") == 0);
}

TEST_CASE("without a rail of those that verbs.rails names there is no RDMA, and transport=verbs says why") {
  fake_network network;
  const clean_end then{network};
  auto settings = configured({{"transport", "verbs"}, {"verbs.rails", "mlx5_9"}});
  const auto refused = fabric::open(settings);
  REQUIRE(refused.has_error());
  CHECK(refused.error() == errc::no_path);
  CHECK(refused.error().message().find("mlx5_9: verbs.rails names it, and this host has no such device or port") !=
        std::string::npos);
}

TEST_CASE("a rail is dialled from the GID that verbs.rails names, though the host's routing would choose another one") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  network.lead_from(5);
  for (const bool named : {true, false}) {
    CAPTURE(named);
    fabric other(configured({{"transport", "verbs"}, {"verbs.rails", named ? "fake0:1:2,fake1:1:2" : "any"}}));
    auto link = soon(other.connect(both.server->address(), asio::use_future));
    CHECK(text_of(soon(link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
    std::size_t from_named = 0;
    for (const auto& [receiving, sending, peer] : network.connected())
      from_named += receiving.ah_attr.grh.sgid_index == 2 ? 1U : 0U;
    // The ends that accept have the address that was dialled.
    CHECK(from_named == network.connected().size() / (named ? 1 : 2));
  }
  both.here = {}, both.there = {};
}

TEST_CASE("a route from another GID than the one that verbs.rails names is not taken, and the reason is told") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both;
  network.lead_from(5, true);
  fabric other(both.with_log({{"verbs.rails", "fake0:1:2,fake1:1:2"}}));
  auto link = soon(other.connect(both.server->address(), asio::use_future));
  CHECK(text_of(soon(link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
  CHECK(network.requests(0) + network.requests(1) == 0);
  CHECK(both.logged("the route leads from GID index 5, and verbs.rails names 2"));
  both.here = {}, both.there = {};
}

TEST_CASE("two ends without a rail in common say so, take tcp if they may, and wait until the deadline otherwise") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "any"}, {"verbs.rails", "fake1"}});
  for (const bool any : {false, true}) {
    CAPTURE(any);
    {
      const std::lock_guard lock(both.mutex);
      both.log.clear();
    }
    fabric other(both.with_log({{"transport", any ? "any" : "verbs"}, {"verbs.rails", "fake0"}}));
    auto link = soon(other.connect(both.server->address(), asio::use_future));
    const auto ended = std::get<0>(soon(link.request(bytes_of("hello"), {.deadline = any ? 60s : 300ms}, outcome)));
    CHECK(ended == (any ? error_code() : make_error_code(errc::deadline_exceeded)));
    CHECK(both.logged("no RDMA path, and transport=verbs: operations wait for one: ") == !any);
    CHECK(both.logged("the route leads over a device that is no rail"));
    CHECK(both.logged("no RDMA path, tcp is used: ") == any);
  }
  both.here = {}, both.there = {};
}

TEST_CASE("who is set to tcp has not fallen back to it") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both;
  fabric other(both.with_log({{"transport", "tcp"}}));
  auto link = soon(other.connect(both.server->address(), asio::use_future));
  CHECK(text_of(soon(link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
  CHECK(other.snapshot().tcp_fallbacks == 0);
  CHECK_FALSE(both.logged(": tcp is used: this process has no RDMA rail"));
  both.here = {}, both.there = {};
}

TEST_CASE("two ends that mark a lane differently are told of it once") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  std::size_t warnings = 0;
  auto settings = configured({{"transport", "verbs"}, {"lane.bulk.dscp", "20"}, {"lane.bulk.channels", "2"}});
  fabric other(settings);
  auto link = soon(other.connect(both.server->address(), asio::use_future));
  auto target = soon(link.open("target", asio::use_future));
  auto memory = other.allocate(byte_count{size}).value();
  for (int i = 0; i < 2; ++i) CHECK(soon(link.write(memory, target.all(), {}, asio::use_future)).bytes == size);
  {
    const std::lock_guard lock(both.mutex);
    const std::string words = "marks the packets of the bulk lane with DSCP 20, and this end with 8: lane.bulk.dscp";
    for (auto at = both.log.find(words); at != std::string::npos; at = both.log.find(words, at + 1)) ++warnings;
  }
  CHECK(warnings == 1);
  CHECK_FALSE(both.logged("of the standard lane with"));
  target = {}, memory = {}, both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("of RDMA READs both ends have as many in flight as the lesser of them allows") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  network.allow_reads(3);
  fabric other(configured(over_verbs));
  auto link = soon(other.connect(both.server->address(), asio::use_future));
  CHECK(text_of(soon(link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
  const auto pairs = network.connected();
  CHECK(pairs.size() >= 2);
  for (const auto& [receiving, sending, peer] : pairs) {
    CHECK(sending.max_rd_atomic == 3);
    CHECK(receiving.max_dest_rd_atomic == 3);
  }
  both.here = {}, both.there = {};
}
