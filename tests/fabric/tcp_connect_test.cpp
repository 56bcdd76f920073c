#include "path/tcp/connect.hpp"

#include <doctest/doctest.h>

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
