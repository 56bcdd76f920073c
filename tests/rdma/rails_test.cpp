// What whole fabrics make of rails that fail, over a network in this process.
#include "conformance/shard_folder.hpp"
#include "path/verbs/connect.hpp"
#include "rdma/pair_of_fabrics.hpp"

#include <weft/shard_client.hpp>
#include <weft/shard_server.hpp>

#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

using namespace weft;
using namespace weft::tests;

TEST_CASE("a transfer goes over the rails, and nothing of them is left when the fabrics close") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  both.connect();
  CHECK(both.write() == error_code());
  CHECK(both.arrived());
  CHECK(both.neighbours_untouched());
  CHECK(network.requests(0) + network.requests(1) > size / 262144);
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("whatever a work request ends with, the transfer ends well, and what happened is named") {
  for (const auto kind : {IBV_WR_RDMA_WRITE, IBV_WR_SEND_WITH_IMM}) {
    for (int status = IBV_WC_LOC_LEN_ERR; status <= IBV_WC_GENERAL_ERR; ++status) {
      CAPTURE(status);
      fake_network network;
      const clean_end then{network};
      pair_of_fabrics both({{"transport", "verbs"},
                            {"log.level", "debug"},
                            {"slice.size", "64KiB"},
                            {"lane.bulk.channels", status % 2 == 0 ? "1" : "3"}});
      both.connect();
      network.fail_request(kind, static_cast<ibv_wc_status>(status), 2);
      CHECK(both.write() == error_code());
      CHECK(both.arrived());
      // Some end behind the write that they belong to.
      CHECK(eventually([&] {
        return both.write() == error_code() && both.logged(ibv_wc_status_str(static_cast<ibv_wc_status>(status)));
      }));
      CHECK(both.logged("(vendor error 0x81)"));
      CHECK((both.logged("to 10.77.0.1") || both.logged("to 10.77.1.1")));
      both.here = {}, both.there = {}, both.target = {};
    }
  }
}

TEST_CASE("a device that hangs without a word is given up, and its transfer ends well over the other rail") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "verbs"},
                        {"slice.size", "64KiB"},
                        {"log.level", "debug"},
                        {"verbs.silence_limit", "150ms"},
                        {"lane.bulk.channels", "2"}});
  both.connect();
  CHECK(both.write() == error_code());
  network.hang(0);
  // Not every write goes over both rails.
  CHECK(eventually([&] { return both.write() == error_code() && both.logged("the device tells nothing of "); }));
  CHECK(both.arrived());
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("queue pairs have the attributes of the tunables, and those of one lane the same at both ends") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "verbs"},
                        {"verbs.mtu", "1KiB"},
                        {"verbs.ack_timeout", "100ms"},
                        {"verbs.retries", "5"},
                        {"verbs.rnr_retries", "4"},
                        {"verbs.rnr_timer", "14"},
                        {"lane.standard.dscp", "10"}});
  both.connect();
  CHECK(both.write() == error_code());
  CHECK(text_of(soon(both.link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
  const auto pairs = network.connected();
  REQUIRE(pairs.size() >= 2 * 3);
  std::set<int> marks;
  for (const auto& [receiving, sending, peer] : pairs) {
    CHECK(receiving.path_mtu == IBV_MTU_1024);
    CHECK(receiving.min_rnr_timer == 14);
    CHECK(sending.timeout == 15); // 4.096 us * 2^15 is 134 ms, half of it too little
    CHECK(sending.retry_cnt == 5);
    CHECK(sending.rnr_retry == 4);
    CHECK(sending.max_rd_atomic == 16);
    CHECK(sending.max_rd_atomic == peer.max_dest_rd_atomic);
    CHECK(receiving.ah_attr.grh.traffic_class == peer.ah_attr.grh.traffic_class);
    CHECK(receiving.ah_attr.sl == receiving.ah_attr.grh.traffic_class >> 5);
    marks.insert(receiving.ah_attr.grh.traffic_class >> 2);
  }
  CHECK(marks == std::set{46, 10, 8});
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a connection of something else, or of another version, is refused, counted and harms nobody") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  both.connect();
  path::verbs::greeting said{.session = random_id(), .at = lane::bulk, .epoch = 1};
  said.credits = path::verbs::queues::least_credits;
  const auto whole = path::verbs::encode(said);
  std::vector<std::vector<std::byte>> greetings = {{}, {}, {whole.begin(), whole.begin() + 20}};
  std::ranges::copy(bytes_of("NVMe"), std::back_inserter(greetings[1]));
  auto& newer = greetings.emplace_back(whole.begin(), whole.end());
  newer[4] = std::byte{2};
  greetings.emplace_back(whole.begin(), whole.end()); // of no session
  for (std::size_t i = 0; i < greetings.size(); ++i) {
    CHECK(network.is_refused(0, greetings[i]));
    CHECK(both.server->snapshot().refused == i + 1);
  }
  CHECK(both.logged("a connection of something else"));
  CHECK(both.logged("version 2 of the greeting"));
  CHECK(both.logged("malformed greeting"));
  CHECK(both.logged("there is none"));
  CHECK(both.write() == error_code());
  CHECK(both.arrived());
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("the bulk lane goes over as many queue pairs as it is told, on both rails at once") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "verbs"}, {"slice.size", "64KiB"}, {"lane.bulk.channels", "4"}});
  both.connect();
  CHECK(both.write() == error_code());
  CHECK(both.arrived());
  CHECK(eventually([&] { return network.pairs() == 2 * (1 + 4); })); // and the standard lane's
  const std::array before = {network.requests(0), network.requests(1)};
  for (int i = 0; i < 8; ++i) CHECK(both.write() == error_code());
  for (std::size_t rail = 0; rail < 2; ++rail) CHECK(network.requests(rail) > before[rail] + 8 * 2);
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a WRITE beyond the registered memory costs its queue pair, and no byte") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "verbs"}, {"log.level", "debug"}, {"slice.size", "64KiB"}});
  both.connect();
  network.misplace(2 * size, 3);
  CHECK(both.write() == error_code());
  CHECK(both.arrived());
  CHECK(both.neighbours_untouched());
  CHECK(both.logged(ibv_wc_status_str(IBV_WC_REM_ACCESS_ERR)));
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a WRITE that lands beside its grant is found by its checksum, and sent again") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both({{"transport", "verbs"}, {"slice.size", "64KiB"}});
  both.connect();
  network.misplace(size, 3);
  const auto [code, result] = soon(both.link.write(both.here, both.target.all(), {.deadline = patience}, outcome));
  CHECK(code == error_code());
  CHECK(result.resent > 0);
  CHECK(both.arrived());
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a rail that breaks under a transfer leaves it to the other one") {
  for (const char* channels : {"1", "4"}) {
    fake_network network;
    const clean_end then{network};
    pair_of_fabrics both({{"transport", "verbs"}, {"slice.size", "64KiB"}, {"lane.bulk.channels", channels}});
    both.connect();
    for (std::size_t rail = 0; rail < 2; ++rail) {
      network.unplug(rail);
      CHECK(both.write() == error_code());
      network.plug(rail);
      CHECK(both.write() == error_code());
    }
    CHECK(both.arrived());
    both.here = {}, both.there = {}, both.target = {};
  }
}

TEST_CASE("a rail that never answers, or connects and carries nothing, is left for the other one") {
  for (const auto fault : {&fake_network::deafen, &fake_network::let_only_connect}) {
    for (std::size_t rail = 0; rail < 2; ++rail) {
      fake_network network;
      const clean_end then{network};
      (network.*fault)(rail);
      pair_of_fabrics both({{"transport", "verbs"}, {"connect.timeout", "200ms"}});
      for (int i = 0; i < 4; ++i) {
        both.connect();
        CHECK(both.write() == error_code());
      }
      CHECK(both.arrived());
      CHECK(network.requests(1 - rail) > 0);
      both.here = {}, both.there = {}, both.target = {}, both.link = {};
    }
  }
}

TEST_CASE("with no rail left tcp carries, and why is said") {
  for (const auto fault : {&fake_network::deafen, &fake_network::let_only_connect, &fake_network::unplug}) {
    fake_network network;
    const clean_end then{network};
    (network.*fault)(0);
    (network.*fault)(1);
    pair_of_fabrics both(settings{{"connect.timeout", "200ms"}});
    both.connect();
    CHECK(both.write() == error_code());
    CHECK(both.arrived());
    CHECK(both.logged("no RDMA path, tcp is used: "));
    CHECK(both.client->snapshot().tcp_fallbacks == 1);
    both.here = {}, both.there = {}, both.target = {};
  }
}

namespace {

/// Whether a write that succeeds goes over that rail, in slices of 64 KiB.
bool goes_over(fake_network& network, std::size_t rail, pair_of_fabrics& both) {
  const auto before = network.requests(rail);
  return both.write() == error_code() && network.requests(rail) - before >= size / 65536;
}

} // namespace

TEST_CASE("what had to go another way goes back to a rail that works again, under a load that does not notice") {
  fake_network network;
  const clean_end then{network};
  bool over_tcp = false;
  SUBCASE("from tcp") {
    over_tcp = true;
  }
  SUBCASE("from the other rail") {}
  pair_of_fabrics both(settings{{"connect.timeout", "200ms"}, {"slice.size", "64KiB"}});
  both.connect();
  std::size_t own = 0; // of the bulk lane of this link
  REQUIRE(eventually([&] { return goes_over(network, own, both) || goes_over(network, own = 1 - own, both); }));
  network.unplug(own);
  if (over_tcp) network.unplug(1 - own);
  CHECK(both.write() == error_code());
  if (over_tcp) CHECK(eventually([&] { return both.logged("no RDMA path, tcp is used: "); }));
  CHECK_FALSE(goes_over(network, own, both));
  network.plug(own);
  CHECK(eventually([&] { return goes_over(network, own, both); }));
  CHECK(both.logged("leads there again: "));
  CHECK(both.arrived());
  CHECK(both.client->snapshot().operations_failed == 0);
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a rail that goes soon after it came back is found out, and no transfer fails") {
  fake_network network({.rails = 1});
  const clean_end then{network};
  pair_of_fabrics both(settings{{"connect.timeout", "100ms"}, {"slice.size", "64KiB"}});
  both.connect();
  for (int flap = 0; flap < 3; ++flap) {
    CAPTURE(flap);
    CHECK(eventually([&] { return goes_over(network, 0, both); }));
    network.unplug(0);
    CHECK(eventually([&] { return both.write() == error_code() && !goes_over(network, 0, both); }));
    network.plug(0);
  }
  CHECK(both.logged("had come back for "));
  CHECK(both.arrived());
  CHECK(both.client->snapshot().operations_failed == 0);
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("a lane tries every rail once before it takes tcp") {
  constexpr std::size_t rails = 4;
  fake_network network({.rails = rails});
  const clean_end then{network};
  for (std::size_t rail = 0; rail < rails; ++rail) network.deafen(rail);
  pair_of_fabrics both;
  both.link = soon(both.client->connect(both.server->address(), asio::use_future));
  const request_options options{.lane = lane::bulk, .deadline = patience};
  CHECK(text_of(soon(both.link.request(bytes_of("hello"), options, asio::use_future)).payload) == "hello");
  for (std::size_t rail = 0; rail < rails; ++rail) CHECK(network.attempts(rail) == 1);
  CHECK(both.logged("no RDMA path, tcp is used: "));
  both.here = {}, both.there = {};
}

TEST_CASE("queue pairs that a device does not make are named, and tcp carries") {
  fake_network network;
  const clean_end then{network};
  network.refuse_pairs(0, ENOMEM);
  network.refuse_pairs(1, ENOMEM);
  pair_of_fabrics both;
  both.connect();
  CHECK(both.write() == error_code());
  CHECK(both.logged("create_qp: Cannot allocate memory"));
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("memory is registered on all rails or on none") {
  fake_network network;
  const clean_end then{network};
  fabric alone(configured({{"transport", "verbs"}}));
  const auto before = network.regions();
  network.refuse_memory(1, ENOMEM);
  const auto refused = alone.allocate(byte_count{size});
  REQUIRE(refused.has_error());
  CHECK(refused.error() == errc::out_of_memory);
  CHECK(refused.error().where().find("rail fake1:1 cannot register 1048576 bytes") != std::string::npos);
  CHECK(refused.error().where().find("ulimit -l") != std::string::npos);
  CHECK(network.regions() == before);
}

TEST_CASE("memory of another fabric is refused, and the link lives on") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  both.connect();
  fabric other(configured({{"transport", "verbs"}}));
  auto foreign = other.allocate(byte_count{size}).value();
  const auto [code, result] = soon(both.link.write(foreign, both.target.all(), {}, outcome));
  CHECK(code == errc::invalid_argument);
  CHECK(result.where.find("another fabric") != std::string::npos);
  CHECK(both.server->publish(foreign, "foreign", rights::read).error() == errc::invalid_argument);
  CHECK(both.write() == error_code());
  both.here = {}, both.there = {}, both.target = {}, foreign = {};
}

TEST_CASE("shards are not moved to and from memory of another fabric either") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  const shard_folder folder;
  std::optional<shard_server> server(shard_server::open(*both.server, folder.path()).value());
  std::optional<shard_client> shards(std::in_place, *both.client, std::vector{both.server->address()});
  fabric other(configured({{"transport", "verbs"}}));
  auto foreign = other.allocate(byte_count{size}).value();
  const auto [put_code, put] = soon(shards->put("shard", foreign, {}, outcome));
  CHECK(put_code == errc::invalid_argument);
  CHECK(put.where.find("another fabric") != std::string::npos);
  soon(shards->put("shard", both.here, {}, asio::use_future));
  const auto [code, fetched] = soon(shards->fetch("shard", foreign, {}, outcome));
  CHECK(code == errc::invalid_argument);
  CHECK(fetched.where.find("another fabric") != std::string::npos);
  soon(shards->fetch("shard", both.here, {}, asio::use_future));
  CHECK(has_pattern(both.here.bytes(), 5));
  shards.reset(), server.reset();
  both.here = {}, both.there = {}, foreign = {};
}

TEST_CASE("links come and go without a trace") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  for (int i = 0; i < 200; ++i) {
    both.link = soon(both.client->connect(both.server->address(), asio::use_future));
    CHECK(text_of(soon(both.link.request(bytes_of("hello"), {}, asio::use_future)).payload) == "hello");
    both.link.close();
  }
  CHECK(eventually([&] { return network.pairs() == 0; }));
  both.here = {}, both.there = {};
}

TEST_CASE("every way to a peer is tried") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(settings{{"connect.timeout", "30s"}});
  both.connect();
  CHECK(both.write() == error_code());
  const auto paths = soon(both.link.inspect_paths(asio::use_future));
  REQUIRE(paths.size() == 3);
  for (std::size_t rail = 0; rail < 2; ++rail) {
    CHECK(paths[rail].transport == "verbs");
    CHECK(paths[rail].from == "fake" + std::to_string(rail) + ":1");
    CHECK(paths[rail].to.starts_with("10.77." + std::to_string(rail) + ".1:"));
    CHECK(paths[rail].works);
    CHECK(paths[rail].lanes.size() == 2); // the lanes of a link are spread over the rails
  }
  CHECK(paths[2].transport == "tcp");
  CHECK(paths[2].works);
  CHECK(paths[2].why_not == "verbs is preferred");
  CHECK(eventually([&] { return network.pairs() == 4; })); // those of the standard and the bulk lane, no more
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("ways to a peer that fail say why, and of a link that is over nothing is tried") {
  fake_network network;
  const clean_end then{network};
  network.deafen(0);
  network.let_only_connect(1);
  pair_of_fabrics both;
  both.link = soon(both.client->connect(both.server->address(), asio::use_future));
  const auto paths = soon(both.link.inspect_paths(asio::use_future));
  REQUIRE(paths.size() == 3);
  CHECK_FALSE(paths[0].works);
  CHECK(paths[0].why_not.find("no queue pair in time") != std::string::npos);
  CHECK_FALSE(paths[1].works);
  // Of the two ends, whose words get nowhere, one gives up first, and the other may hear of that before its own.
  const bool named = paths[1].why_not.find(ibv_wc_status_str(IBV_WC_RETRY_EXC_ERR)) != std::string::npos ||
                     paths[1].why_not.find("the peer closed the queue pair") != std::string::npos;
  CAPTURE(paths[1].why_not);
  CHECK(named);
  both.link.close();
  CHECK(std::get<0>(soon(both.link.inspect_paths(outcome))) != error_code());
  both.here = {}, both.there = {}, both.target = {};
}

TEST_CASE("whoever dials a peer that answers does not wait for all that dial one that does not") {
  fake_network network;
  const clean_end then{network};
  network.deafen(0);
  tunables limits;
  limits.verbs_connects_max = 1;
  const logger silent;
  const auto& by = path::verbs::calls_in_use();
  const auto rails = path::verbs::rail_set::find(by, limits.verbs_rails);
  boost::asio::io_context lane_thread;
  std::map<std::size_t, std::shared_ptr<path::verbs::queues>> shared;
  const path::verbs::connector::queues_on queues_of = [&](const path::verbs::rail& on, std::uint32_t sends) {
    auto& one = shared[on.index];
    if (!one) one = path::verbs::queues::open(on, lane_thread.get_executor(), limits).value();
    CHECK(one->reserve(sends));
    return result<std::shared_ptr<path::verbs::queues>>(one);
  };
  const auto dialler = path::verbs::connector::open(by, rails, limits, silent, "test").value();
  const auto dial = [&](std::uint8_t rail, std::promise<error>& told) {
    const boost::asio::ip::tcp::endpoint nobody(rails.rails()[rail].addresses.front(), 1);
    path::verbs::greeting said{.session = random_id(), .at = lane::bulk, .epoch = 1};
    said.credits = path::verbs::queues::least_credits;
    dialler->dial({rail, nobody}, said, 20s, queues_of, [&told](const error& why, auto&&) { told.set_value(why); });
  };
  std::array<std::promise<error>, 10> dead;
  std::promise<error> living;
  for (auto& each : dead) dial(0, each);
  dial(1, living);
  CHECK(soon(living.get_future()).where().find("refused") != std::string::npos); // nobody listens there
  CHECK(network.attempts(0) <= 2);
  dialler->stop();
}

TEST_CASE("240 links that open at once all work") {
  fake_network network;
  const clean_end then{network};
  pair_of_fabrics both(over_verbs);
  std::vector<std::future<weft::link>> opening;
  for (int i = 0; i < 240; ++i) opening.push_back(both.client->connect(both.server->address(), asio::use_future));
  std::vector<weft::link> links;
  for (auto& each : opening) links.push_back(soon(std::move(each)));
  std::vector<std::future<std::tuple<error_code, response>>> asked;
  for (auto& each : links) {
    for (const auto on : {lane::realtime, lane::bulk}) {
      asked.push_back(each.request(bytes_of("hello"), {.lane = on, .deadline = patience}, outcome));
    }
  }
  for (auto& each : asked) CHECK(std::get<0>(soon(std::move(each))) == error_code());
  CHECK(network.pairs() >= 2 * 2 * 240);
  both.here = {}, both.there = {};
}
