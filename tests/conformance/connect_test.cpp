// Connecting: what goes wrong is named, and in time.
#include "listener.hpp"
#include "rig.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include <sys/resource.h>

#include <filesystem>

using namespace weft;
using namespace weft::tests;

namespace {

error_code connect_code(fabric& client, const std::string& address, connect_options options = {}) {
  return std::get<0>(soon(client.connect(address, options, outcome)));
}

/// An address where nothing listens.
std::string free_address() {
  asio::io_context context;
  const asio::ip::tcp::acceptor taken(context, {asio::ip::address_v4::loopback(), 0});
  return "127.0.0.1:" + std::to_string(taken.local_endpoint().port());
}

std::chrono::microseconds processor_time() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& value) {
    return std::chrono::seconds(value.tv_sec) + std::chrono::microseconds(value.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

/// Sockets that this process listens at, by the kernel's list.
std::size_t listening_sockets() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    int listens = 0;
    socklen_t size = sizeof listens;
    const auto descriptor = std::stoi(entry.path().filename());
    if (::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0) ++count;
  }
  return count;
}

} // namespace

TEST_CASE("an address that cannot be one is an invalid_url") {
  fabric client{config{}};
  for (const auto* address :
       {"", "host", "host:", ":1", "1.2.3.4:port", "1.2.3.4:65536", "::1:80", "[::1", "http://x:1"}) {
    CAPTURE(address);
    CHECK(connect_code(client, address) == errc::invalid_url);
  }
}

TEST_CASE("nothing at the address is connect_refused") {
  fabric client{config{}};
  CHECK(connect_code(client, free_address()) == errc::connect_refused);
}

TEST_CASE("a host without an address is name_unresolved, or late") {
  fabric client{config{}};
  const auto code = connect_code(client, "no-such-host.invalid:1", {.deadline = 3s});
  CHECK((code == errc::name_unresolved || code == errc::deadline_exceeded));
}

TEST_CASE_TEMPLATE("a peer is reached by name, by URL and over IPv6", Kind, in_threads, in_processes) {
  fabric client{config{}};
  Kind peer(peer_options{});
  const auto port = peer.address().substr(peer.address().rfind(':'));
  CHECK(connect_code(client, "localhost" + port) == error_code{});
  CHECK(connect_code(client, "weft://" + peer.address()) == error_code{});
  fabric six(configured({{"listen", "[::1]:0"}}));
  CHECK(six.address().starts_with("[::1]:"));
  CHECK(connect_code(client, six.address()) == error_code{});
}

TEST_CASE("what answers something else is not_weft") {
  fabric client(configured({{"handshake.timeout", "300ms"}}));
  SUBCASE("with words") {
    listener other([](auto& met) {
      static const std::string words(400, 'H');
      asio::write(met, asio::buffer(words));
    });
    CHECK(connect_code(client, other.address()) == errc::not_weft);
  }
  SUBCASE("by closing") {
    listener other([](auto& met) { met.close(); });
    CHECK(connect_code(client, other.address()) == errc::not_weft);
  }
  SUBCASE("by closing after it has listened") {
    listener other([](auto& met) {
      std::array<std::byte, 32> some;
      error_code ignored;
      met.read_some(asio::buffer(some), ignored);
      met.close();
    });
    CHECK(connect_code(client, other.address()) == errc::not_weft);
  }
  CHECK(client.snapshot().links == 0);
}

TEST_CASE("what stays silent ends an attempt in time") {
  const listener silent([](auto&) {});
  SUBCASE("at the time for a handshake") {
    fabric client(configured({{"handshake.timeout", "100ms"}}));
    CHECK(connect_code(client, silent.address()) == errc::peer_unresponsive);
  }
  SUBCASE("at the deadline") {
    fabric client{config{}};
    CHECK(connect_code(client, silent.address(), {.deadline = 50ms}) == errc::deadline_exceeded);
  }
  SUBCASE("when it is cancelled") {
    fabric client{config{}};
    asio::cancellation_signal stop;
    std::promise<error_code> ended;
    client.connect(silent.address(),
                   asio::bind_cancellation_slot(stop.slot(), [&](error_code code, auto&&) { ended.set_value(code); }));
    std::this_thread::sleep_for(20ms);
    stop.emit(asio::cancellation_type::terminal);
    CHECK(soon(ended.get_future()) == errc::cancelled);
  }
  SUBCASE("when its fabric is destroyed") {
    auto client = std::make_unique<fabric>(config{});
    auto attempt = client->connect(silent.address(), outcome);
    client.reset();
    CHECK(std::get<0>(soon(std::move(attempt))) == errc::closed);
  }
}

TEST_CASE("an address to listen at that is taken or not ours is named") {
  fabric first(configured({{"listen", "127.0.0.1:0"}}));
  CHECK(fabric::open(configured({{"listen", first.address()}})).error() == errc::address_in_use);
  CHECK(fabric::open(configured({{"listen", "192.0.2.1:0"}})).error() == errc::address_unavailable);
  CHECK(fabric::open(configured({{"listen", "nonsense"}})).has_error());
}

TEST_CASE("nothing listens without being told where") {
  const auto before = listening_sockets();
  const fabric client{config{}};
  CHECK(client.address().empty());
  CHECK(listening_sockets() == before);
  const fabric server(configured({{"listen", "127.0.0.1:0"}}));
  CHECK(listening_sockets() == before + 1);
}

TEST_CASE("an idle fabric and an idle link use no processor time") {
  rig<in_threads> with;
  with.ask("echo warm");
  std::this_thread::sleep_for(50ms);
  const auto before = processor_time();
  std::this_thread::sleep_for(300ms);
  CHECK(processor_time() - before < 30ms);
}

TEST_CASE("a fabric that the system refuses its descriptors is an error, not an exception") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit few{.rlim_cur = 3, .rlim_max = before.rlim_max}; // the standard ones
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto opened = fabric::open(config{});
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  REQUIRE_FALSE(opened.has_value());
  CHECK((opened.error() == errc::os_failure));
}
