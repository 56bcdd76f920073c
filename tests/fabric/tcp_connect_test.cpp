#include "path/tcp/connect.hpp"

#include <boost/asio/io_context.hpp>
#include <doctest/doctest.h>

#include <netinet/tcp.h>

#include <array>
#include <fstream>
#include <sstream>

using namespace weft;
using namespace weft::path::tcp;

TEST_CASE("an address has a host and a port, with or without a scheme") {
  const auto read = [](std::string_view text) {
    const auto found = parse_address(text).value();
    return found.host + '|' + found.port;
  };
  CHECK(read("storage-1:7000") == "storage-1|7000");
  CHECK(read("weft://10.0.0.1:7000") == "10.0.0.1|7000");
  CHECK(read("[::1]:65535") == "::1|65535");
  CHECK(read("weft://[fe80::1%eth0]:1") == "fe80::1%eth0|1");
}

TEST_CASE("what is no address is an invalid_url that repeats it") {
  for (const auto* text : {"", ":", "host", "host:", ":7000", "host:70000", "host:-1", "host:7000/x", "host:7000:1",
                           "::1:7000", "[::1", "[::1]", "[]:7000", "weft://"}) {
    const auto found = parse_address(text);
    REQUIRE(found.has_error());
    CHECK(found.error() == errc::invalid_url);
    CHECK(found.error().where().find(text) != std::string::npos);
  }
}

TEST_CASE("a connection gets the congestion control that was asked for") {
  boost::asio::io_context context;
  boost::asio::ip::tcp::socket socket(context, boost::asio::ip::tcp::v4());
  tunables limits;
  limits.tcp_congestion = congestion_control::reno; // the one that every kernel has
  CHECK(check_options(limits).has_value());
  set_options(socket, limits);
  std::array<char, 16> algorithm{};
  socklen_t length = algorithm.size();
  REQUIRE(::getsockopt(socket.native_handle(), IPPROTO_TCP, TCP_CONGESTION, algorithm.data(), &length) == 0);
  CHECK(std::string(algorithm.data()) == "reno");
}

TEST_CASE("a congestion control is taken where the kernel lists it, else refused by name") {
  std::ifstream list("/proc/sys/net/ipv4/tcp_available_congestion_control");
  std::ostringstream available;
  available << ' ' << list.rdbuf() << ' ';
  for (const auto wanted : {congestion_control::cubic, congestion_control::bbr, congestion_control::dctcp}) {
    tunables limits;
    limits.tcp_congestion = wanted;
    const auto had = check_options(limits);
    if (available.str().find(std::string(name(wanted))) != std::string::npos) CHECK(had.has_value());
    if (had) continue; // the kernel may load what it does not list
    CHECK(had.error() == errc::invalid_config);
    CHECK(had.error().where().find("tcp.congestion=" + std::string(name(wanted))) != std::string::npos);
  }
}
