// A peer's name belongs to one live process.
#include "rig.hpp"

using namespace weft;
using namespace weft::tests;

namespace {

error_code connect_code(fabric& from, const std::string& address) {
  return std::get<0>(soon(from.connect(address, outcome)));
}

} // namespace

TEST_CASE("a second live process under one name is refused with name_in_use") {
  fabric server{configured({{"listen", "127.0.0.1:0"}, {"peer.name", "storage"}})};
  server.on_request([](incoming_request request) { request.reply(bytes_of(request.peer())); });
  fabric first{configured({{"peer.name", "trainer"}})};
  auto link = soon(first.connect(server.address(), asio::use_future));

  fabric second{configured({{"peer.name", "trainer"}})};
  CHECK(connect_code(second, server.address()) == errc::name_in_use);
  fabric namesake{configured({{"peer.name", "storage"}})};
  CHECK(connect_code(namesake, server.address()) == errc::name_in_use);
  // The first one notices nothing, and may have as many links as it likes.
  CHECK(text_of(soon(link.request({}, {}, asio::use_future)).payload) == "trainer");
  auto another = soon(first.connect(server.address(), asio::use_future));
  CHECK(text_of(soon(another.request({}, {}, asio::use_future)).payload) == "trainer");
}

TEST_CASE("a dialling process refuses the second of two peers with one name") {
  fabric first{configured({{"listen", "127.0.0.1:0"}, {"peer.name", "storage"}})};
  fabric second{configured({{"listen", "127.0.0.1:0"}, {"peer.name", "storage"}})};
  fabric client{config{}};
  auto link = soon(client.connect(first.address(), asio::use_future));
  CHECK(connect_code(client, second.address()) == errc::name_in_use);
  CHECK(link.alive());
  link.close();
  CHECK(eventually([&] { return connect_code(client, second.address()) == error_code{}; }));
}

TEST_CASE("a name is free again when its process is gone") {
  fabric server{configured({{"listen", "127.0.0.1:0"}})};
  server.on_request([](incoming_request request) { request.reply(request.payload()); });
  for (int round = 0; round < 3; ++round) {
    fabric trainer{configured({{"peer.name", "trainer"}})};
    auto link = soon(trainer.connect(server.address(), asio::use_future));
    CHECK(text_of(soon(link.request(bytes_of("again"), {}, asio::use_future)).payload) == "again");
  }
}

TEST_CASE("a process that was killed, or that is frozen, loses its name to its successor" *
          doctest::test_suite("two processes")) {
  const peer_options named{.size = 4096, .values = {{"peer.name", "storage"}}};
  fabric client{configured({{"probe.timeout", "100ms"}})};
  in_processes old{named};
  auto link = soon(client.connect(old.address(), asio::use_future));
  SUBCASE("killed") {
    old.kill();
  }
  SUBCASE("frozen") {
    old.freeze();
  }
  in_processes successor{named};
  auto next = soon(client.connect(successor.address(), asio::use_future));
  CHECK(next.peer() == "storage");
  CHECK(eventually([&] { return !link.alive(); }));
  CHECK(std::get<0>(soon(link.request({}, {}, outcome))) == errc::peer_restarted);
}
