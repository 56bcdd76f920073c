// Peers that break the protocol: they are dropped, with a name for what they did, and nobody else notices.
#include "rig.hpp"

#include "base/crc32c.hpp"
#include "wire/bodies.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <thread>

using namespace weft;
using namespace weft::tests;

namespace {

/// A listening fabric with an honest client, and what it logged.
struct fortress {
  fortress() : server(with_sink()), client(config{}), link(soon(client.connect(server.address(), asio::use_future))) {
    server.on_request([](incoming_request request) { request.reply(request.payload()); });
  }

  config with_sink() {
    auto made = configured({{"listen", "127.0.0.1:0"}, {"handshake.timeout", "200ms"}});
    made.set_sink([this](log_level, std::string_view text) {
      const std::lock_guard lock(mutex);
      logged += std::string(text) + '\n';
    });
    return made;
  }

  bool has_logged(std::string_view text) {
    return eventually([&] {
      const std::lock_guard lock(mutex);
      return logged.find(text) != std::string::npos;
    });
  }

  bool still_serves() {
    return text_of(soon(link.request(bytes_of("honest"), {}, asio::use_future)).payload) == "honest";
  }

  std::mutex mutex;
  std::string logged;
  fabric server;
  fabric client;
  weft::link link;
};

/// Speaks bytes to a fabric without any of Weft's care.
class intruder {
public:
  explicit intruder(const std::string& address) : socket_(context_) {
    const auto colon = address.rfind(':');
    socket_.connect({asio::ip::make_address(address.substr(0, colon)),
                     static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1)))});
  }

  void say(std::span<const std::byte> bytes) {
    error_code ignored; // it may have hung up already
    asio::write(socket_, asio::buffer(bytes.data(), bytes.size()), ignored);
  }

  void say(wire::frame_header header, std::span<const std::byte> body = {}) {
    header.body_length = static_cast<std::uint32_t>(body.size());
    say_as_it_is(header);
    say(body);
  }

  void say_as_it_is(const wire::frame_header& header) {
    std::array<std::byte, wire::header_size> bytes;
    wire::encode(header, bytes);
    say(bytes);
  }

  /// A frame of the fabric's.
  wire::frame_header hear() {
    std::array<std::byte, wire::header_size> bytes;
    asio::read(socket_, asio::buffer(bytes));
    const auto header = wire::decode(bytes).value();
    body.resize(header.body_length);
    asio::read(socket_, asio::buffer(body));
    return header;
  }

  /// The fabric hangs up.
  bool is_dropped() {
    std::array<std::byte, 4096> rest;
    error_code code;
    while (!code) socket_.read_some(asio::buffer(rest), code);
    return true;
  }

  /// Opens a session as a proper peer would.
  void greet() {
    std::vector<std::byte> hello;
    wire::encode(mine, hello);
    say({.type = wire::frame_type::hello}, hello);
    CHECK(hear().type == wire::frame_type::hello_answer);
  }

  /// Opens a channel of `session`.
  void open_channel(const id128& session, lane on) {
    std::vector<std::byte> hello;
    wire::encode(wire::channel_hello{session, on, 1}, hello);
    say({.type = wire::frame_type::channel_hello}, hello);
    CHECK(hear().type == wire::frame_type::channel_answer);
  }

  wire::hello mine{.name = "intruder", .incarnation = random_id(), .session = random_id(), .session_epoch = 1};
  std::vector<std::byte> body;

private:
  asio::io_context context_;
  asio::ip::tcp::socket socket_;
};

wire::frame_header on_channel(wire::frame_type type, std::uint32_t number = 0) {
  return {.type = type, .epoch = 1, .number = number, .transfer = 1};
}

} // namespace

TEST_CASE("a first frame that is none is refused") {
  fortress server;
  intruder other(server.server.address());
  SUBCASE("words") {
    other.say(bytes_of(std::string(200, 'G')));
    CHECK(other.is_dropped());
    CHECK(server.has_logged("refused a connection"));
  }
  SUBCASE("half a frame and then nothing") {
    other.say(std::vector<std::byte>(20));
    CHECK(other.is_dropped());
  }
  SUBCASE("a frame that belongs elsewhere") {
    other.say({.type = wire::frame_type::goodbye});
    CHECK(other.is_dropped());
  }
  SUBCASE("a hello that is longer than any") {
    other.say_as_it_is({.type = wire::frame_type::hello, .body_length = 60'000});
    CHECK(other.is_dropped());
  }
  SUBCASE("a hello of nonsense") {
    other.say({.type = wire::frame_type::hello}, std::vector<std::byte>(100, poison));
    CHECK(other.hear().type == wire::frame_type::refusal);
    CHECK(other.is_dropped());
  }
  SUBCASE("a hello that demands what is not known") {
    other.mine.required = 1;
    std::vector<std::byte> hello;
    wire::encode(other.mine, hello);
    other.say({.type = wire::frame_type::hello}, hello);
    CHECK(static_cast<errc>(other.hear().code) == errc::version_mismatch);
  }
  SUBCASE("a session of before") {
    other.mine.session_epoch = 7;
    std::vector<std::byte> hello;
    wire::encode(other.mine, hello);
    other.say({.type = wire::frame_type::hello}, hello);
    CHECK(static_cast<errc>(other.hear().code) == errc::peer_restarted);
  }
  SUBCASE("a channel of no session") {
    std::vector<std::byte> hello;
    wire::encode(wire::channel_hello{random_id(), lane::bulk, 1}, hello);
    other.say({.type = wire::frame_type::channel_hello}, hello);
    CHECK(static_cast<errc>(other.hear().code) == errc::peer_restarted);
  }
  CHECK(server.still_serves());
  CHECK(server.server.snapshot().links == 1);
  CHECK(server.server.snapshot().refused == 1);
}

TEST_CASE("a session that breaks the protocol ends alone") {
  fortress server;
  intruder other(server.server.address());
  other.greet();
  CHECK(server.server.snapshot().links == 2);
  bool frames = true;
  SUBCASE("with words") {
    other.say(bytes_of(std::string(500, 'x')));
    frames = false; // as a connection that is lost: the peer may come back
  }
  SUBCASE("with a frame of a channel") {
    other.say(on_channel(wire::frame_type::request, 1), std::vector<std::byte>(8));
  }
  SUBCASE("with a slice") {
    other.say(on_channel(wire::frame_type::slice), std::vector<std::byte>(100));
  }
  SUBCASE("with a wish for a lane that is none") {
    other.say({.type = wire::frame_type::channel_wanted, .index = 9});
  }
  SUBCASE("with an answer to nothing") {
    std::vector<std::byte> hello;
    wire::encode(other.mine, hello);
    other.say({.type = wire::frame_type::hello_answer}, hello);
  }
  CHECK(other.is_dropped());
  CHECK(server.still_serves());
  CHECK(eventually([&] { return server.server.snapshot().links == 1; }));
  CHECK(server.server.snapshot().broken_links == (frames ? 1 : 0));
}

TEST_CASE("a channel that breaks the protocol ends its link, and no other") {
  fortress server;
  intruder session(server.server.address());
  session.greet();
  intruder channel(server.server.address());
  channel.open_channel(session.mine.session, lane::realtime);
  SUBCASE("a number that skips") {
    channel.say(on_channel(wire::frame_type::request, 7), std::vector<std::byte>(8));
  }
  SUBCASE("a request of nonsense") {
    channel.say(on_channel(wire::frame_type::request, 1), std::vector<std::byte>(200, poison));
  }
  SUBCASE("a session's frame") {
    channel.say(on_channel(wire::frame_type::hello));
  }
  SUBCASE("an epoch of another time") {
    auto header = on_channel(wire::frame_type::acknowledge);
    header.epoch = 99;
    channel.say(header);
  }
  SUBCASE("an acknowledgement of what was never sent") {
    auto header = on_channel(wire::frame_type::acknowledge);
    header.received = 5000;
    channel.say(header);
  }
  CHECK(session.is_dropped());
  CHECK(channel.is_dropped());
  CHECK(server.still_serves());
  CHECK(eventually([&] { return server.server.snapshot().links == 1; }));
  CHECK(server.server.snapshot().broken_links == 1);
}

TEST_CASE("bytes that are no frame end a channel, and nothing is allocated for lengths that a peer made up") {
  fortress server;
  intruder session(server.server.address());
  session.greet();
  intruder channel(server.server.address());
  channel.open_channel(session.mine.session, lane::realtime);
  SUBCASE("words") {
    channel.say(bytes_of(std::string(300, 'w')));
  }
  SUBCASE("a message of 4 GiB") {
    auto header = on_channel(wire::frame_type::request, 1);
    header.body_length = ~std::uint32_t{0};
    channel.say_as_it_is(header);
  }
  SUBCASE("a slice of 4 GiB") {
    auto header = on_channel(wire::frame_type::slice);
    header.body_length = ~std::uint32_t{0};
    channel.say_as_it_is(header);
  }
  SUBCASE("a type that is none") {
    std::array<std::byte, wire::header_size> bytes;
    wire::encode(on_channel(wire::frame_type::acknowledge), bytes);
    bytes[5] = std::byte{200};
    const auto crc = crc32c(std::span<const std::byte>(bytes).first(60));
    std::memcpy(bytes.data() + 60, &crc, 4);
    channel.say(bytes);
  }
  CHECK(channel.is_dropped());
  CHECK(server.still_serves());
}

TEST_CASE("a slice for nobody is dropped and harms nobody") {
  fortress server;
  intruder session(server.server.address());
  session.greet();
  intruder channel(server.server.address());
  channel.open_channel(session.mine.session, lane::bulk);
  auto slice = on_channel(wire::frame_type::slice);
  slice.transfer = 4711;
  channel.say(slice, std::vector<std::byte>(100'000));
  CHECK(eventually([&] { return server.server.snapshot().slices_dropped == 1; }));
  // Half of one, and then silence: whoever waits for it has a deadline.
  slice.body_length = 100'000;
  channel.say_as_it_is(slice);
  channel.say(std::vector<std::byte>(50'000));
  CHECK(server.still_serves());
}

TEST_CASE("a peer that vanishes in the middle of a frame takes only itself away") {
  fortress server;
  {
    intruder session(server.server.address());
    session.greet();
    intruder channel(server.server.address());
    channel.open_channel(session.mine.session, lane::realtime);
    auto header = on_channel(wire::frame_type::request, 1);
    header.body_length = 500;
    channel.say_as_it_is(header);
    channel.say(std::vector<std::byte>(20));
  }
  CHECK(server.still_serves());
}

TEST_CASE("a peer that is dropped sees that, though a child of the process holds its connection too") {
  fortress server;
  intruder other(server.server.address());
  other.greet();
  int wake[2];
  REQUIRE(::pipe(wake) == 0);
  const auto child = ::fork();
  if (child == 0) {
    char byte = 0;
    ::close(wake[1]);
    std::ignore = ::read(wake[0], &byte, 1);
    ::_exit(0);
  }
  other.say({.type = wire::frame_type::request});
  CHECK(other.is_dropped());
  ::close(wake[1]);
  ::close(wake[0]);
  ::waitpid(child, nullptr, 0);
  CHECK(server.still_serves());
}

TEST_CASE("a peer that sends a byte at a time is given the time of a handshake and no more") {
  fortress server;
  intruder other(server.server.address());
  std::vector<std::byte> hello;
  wire::encode(other.mine, hello);
  std::array<std::byte, wire::header_size> header;
  wire::encode({.type = wire::frame_type::hello, .body_length = static_cast<std::uint32_t>(hello.size())}, header);
  std::atomic<bool> dropped = false;
  std::thread watcher([&] { dropped = other.is_dropped(); });
  std::size_t sent = 0;
  for (; !dropped && sent < header.size(); ++sent) {
    other.say(std::span(header).subspan(sent, 1));
    std::this_thread::sleep_for(20ms); // the whole header would take 1.3 s, the handshake 0.2 s
  }
  watcher.join();
  CHECK(sent < header.size());
  CHECK(server.still_serves());
}

TEST_CASE("version 0 and the highest are refused by name") {
  fortress server;
  for (const std::uint8_t version : {std::uint8_t{0}, std::uint8_t{255}}) {
    intruder other(server.server.address());
    std::vector<std::byte> hello;
    wire::encode(other.mine, hello);
    std::array<std::byte, wire::header_size> header;
    wire::encode({.type = wire::frame_type::hello, .body_length = static_cast<std::uint32_t>(hello.size())}, header);
    header[4] = std::byte{version}; // behind the magic
    const auto crc = crc32c(std::span(header).first(60));
    std::memcpy(header.data() + 60, &crc, sizeof crc);
    other.say(header);
    other.say(hello);
    const auto answer = other.hear();
    CHECK(answer.type == wire::frame_type::refusal);
    CHECK(static_cast<errc>(answer.code) == errc::version_mismatch);
    CHECK(other.is_dropped());
  }
  CHECK(server.has_logged("peer speaks version 255"));
}
