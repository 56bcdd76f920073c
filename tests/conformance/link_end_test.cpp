// The end of a link: whoever ends it, every operation completes once, with who it was.
#include "chaos_proxy.hpp"
#include "rig.hpp"

#include <weft/shard_client.hpp>

#include <atomic>
#include <optional>

using namespace weft;
using namespace weft::tests;

namespace {

constexpr std::size_t large = 32 << 20;

/// Outstanding operations of every kind.
struct outstanding {
  template <class Kind>
  explicit outstanding(rig<Kind>& with) : sent(with.filled(large, 1)) {
    const auto source = with.open("source");
    const auto target = with.open("target");
    constexpr auto part = large / lane_count;
    for (std::size_t i = 0; i < lane_count; ++i) {
      const auto on = static_cast<lane>(i);
      requests.push_back(with.link.request(bytes_of("mark held 20000"), {.lane = on}, outcome));
      received.push_back(with.allocate(large));
      transfers.push_back(with.link.read(source.all(), received.back(), {.lane = on}, outcome));
      transfers.push_back(with.link.write(sent.sub(i * part, part), target.sub(i * part, part), {.lane = on}, outcome));
    }
    eventually([&] { return with.ask("marks held") == "4"; });
  }

  /// All end with `expected`; a transfer may also have been complete before.
  void all_end_with(errc expected) {
    for (auto& each : requests) {
      const auto [code, answer] = soon(std::move(each));
      CHECK(code == expected);
      CHECK(answer.maybe_executed);
    }
    for (auto& each : transfers) {
      const auto code = std::get<0>(soon(std::move(each)));
      CAPTURE(code.message());
      CHECK((code == expected || !code));
    }
  }

  region sent;
  std::vector<region> received;
  std::vector<std::future<std::tuple<error_code, response>>> requests;
  std::vector<std::future<std::tuple<error_code, transfer_result>>> transfers;
};

/// A peer in this process that closes before the test ends.
class mortal {
public:
  explicit mortal(const peer_options& options) : peer_(std::in_place, options) {}
  [[nodiscard]] const std::string& address() const noexcept { return peer_->address(); }
  void close() { peer_.reset(); }

private:
  std::optional<peer> peer_;
};

} // namespace

TEST_CASE_TEMPLATE("a link that is closed here ends its operations with closed", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = large});
  outstanding all(with);
  with.link.close();
  all.all_end_with(errc::closed);
  CHECK_FALSE(with.link.alive());
  CHECK(std::get<0>(soon(with.link.request({}, {}, outcome))) == errc::closed);
  CHECK(std::get<0>(soon(with.link.open("source", outcome))) == errc::closed);
  // Another link with the same peer is another link.
  auto next = soon(with.client.connect(with.peer.address(), asio::use_future));
  CHECK(text_of(soon(next.request(bytes_of("echo on"), {}, asio::use_future)).payload) == "echo on");
}

TEST_CASE_TEMPLATE("a handler may close its link, and each operation ends once", Kind, in_threads, in_processes) {
  rig<Kind> with({.size = large});
  for (const auto on : {lane::realtime, lane::standard}) {
    CAPTURE(static_cast<int>(on));
    auto link = soon(with.client.connect(with.peer.address(), asio::use_future));
    std::atomic<int> ended = 0;
    constexpr int requests = 8;
    for (int i = 0; i < requests; ++i) {
      // Without an executor: on the lane's thread, in the batch that completes several.
      link.request(bytes_of("echo on"), {.lane = on}, [&ended, link](error_code, const response&) mutable {
        if (ended++ == 0) link.close();
      });
    }
    CHECK(eventually([&] { return ended == requests; }));
    CHECK(std::get<0>(soon(link.open("source", outcome))) == errc::closed);
    CHECK(ended == requests);
  }
}

TEST_CASE("a peer that closes ends our operations with peer_closed") {
  rig<mortal> with({.size = large});
  outstanding all(with);
  with.peer.close();
  all.all_end_with(errc::peer_closed);
  CHECK_FALSE(with.link.alive());
}

TEST_CASE_TEMPLATE("a fabric that is destroyed completes what is outstanding with closed", Kind, in_threads,
                   in_processes) {
  const peer_options theirs{.size = large};
  Kind server(theirs);
  auto client = std::make_unique<fabric>(config{});
  auto link = soon(client->connect(server.address(), asio::use_future));
  const auto source = soon(link.open("source", asio::use_future));
  std::vector<region> memories;
  std::vector<std::future<std::tuple<error_code, transfer_result>>> reads;
  std::vector<std::future<std::tuple<error_code, response>>> requests;
  for (std::size_t i = 0; i < lane_count; ++i) {
    memories.push_back(client->allocate(byte_count{large}).value());
    reads.push_back(link.read(source.all(), memories.back(), {.lane = static_cast<lane>(i)}, outcome));
    requests.push_back(link.request(bytes_of("delay 20000"), {.lane = static_cast<lane>(i)}, outcome));
  }
  auto attempt = client->connect(server.address(), outcome);
  client.reset();
  for (auto& each : requests) CHECK(std::get<0>(soon(std::move(each))) == errc::closed);
  for (auto& each : reads) {
    const auto code = std::get<0>(soon(std::move(each)));
    CHECK((code == errc::closed || !code));
  }
  const auto connected = std::get<0>(soon(std::move(attempt)));
  CHECK((connected == errc::closed || !connected));
  for (const auto& memory : memories) std::ranges::fill(memory.bytes(), poison);
  std::this_thread::sleep_for(50ms);
  for (const auto& memory : memories) CHECK(is_poisoned(memory.bytes()));
}

TEST_CASE_TEMPLATE("handles outlive their fabric and answer closed", Kind, in_threads, in_processes) {
  Kind server(peer_options{});
  auto client = std::make_unique<fabric>(config{});
  auto link = soon(client->connect(server.address(), asio::use_future));
  const auto source = soon(link.open("source", asio::use_future));
  auto memory = client->allocate(byte_count{1000}).value();
  shard_client shards(*client, {server.address()});
  client.reset();
  CHECK_FALSE(link.alive());
  CHECK(std::get<0>(soon(link.request({}, {}, outcome))) == errc::closed);
  CHECK(std::get<0>(soon(link.open("source", outcome))) == errc::closed);
  CHECK(std::get<0>(soon(link.read(source.sub(0, 1000), memory, {}, outcome))) == errc::closed);
  CHECK(std::get<0>(soon(link.write(memory, source.sub(0, 1000), {.lane = lane::realtime}, outcome))) == errc::closed);
  CHECK(std::get<0>(soon(shards.stat("any", outcome))) == errc::closed);
  CHECK(std::get<0>(soon(shards.fetch("any", memory, {}, outcome))) == errc::closed);
  link.close();
}

TEST_CASE("a request that outlives its fabric can still be answered") {
  std::optional<incoming_request> kept;
  std::promise<void> arrived;
  std::optional<fabric> server(configured({{"listen", "127.0.0.1:0"}}));
  server->on_request([&](incoming_request request) {
    kept.emplace(std::move(request));
    arrived.set_value();
  });
  fabric client{config{}};
  auto link = soon(client.connect(server->address(), asio::use_future));
  auto answer = link.request(bytes_of("hold this"), {}, outcome);
  soon(arrived.get_future());
  server.reset();
  CHECK(std::get<0>(soon(std::move(answer))) == errc::peer_closed);
  CHECK(text_of(kept->payload()) == "hold this");
  kept->reply({});
}

TEST_CASE_TEMPLATE("closing waits for what is under way and refuses what is new", Kind, in_threads, in_processes) {
  rig<Kind> with;
  auto slow = with.link.request(bytes_of("delay 100"), {}, outcome);
  auto closed = with.client.close(10s, asio::use_future);
  CHECK(
      eventually([&] { return std::get<0>(soon(with.link.request(bytes_of("echo"), {}, outcome))) == errc::closed; }));
  CHECK(std::get<0>(soon(std::move(slow))) == error_code{});
  soon(std::move(closed));
  CHECK(std::get<0>(soon(with.client.connect(with.peer.address(), outcome))) == errc::closed);
  soon(with.client.close(0s, asio::use_future));
}

TEST_CASE_TEMPLATE("closing without patience ends what is under way", Kind, in_threads, in_processes) {
  rig<Kind> with;
  auto slow = with.link.request(bytes_of("delay 20000"), {}, outcome);
  soon(with.client.close(10ms, asio::use_future));
  CHECK(std::get<0>(soon(std::move(slow))) == errc::closed);
}

TEST_CASE("a killed peer is peer_lost within session.grace" * doctest::test_suite("two processes")) {
  rig<in_processes> with({.size = large}, {{"session.grace", "300ms"}});
  outstanding all(with);
  with.peer.kill();
  all.all_end_with(errc::peer_lost);
  CHECK_FALSE(with.link.alive());
}

TEST_CASE("a peer that comes back as another is peer_restarted" * doctest::test_suite("two processes")) {
  std::optional<rig<in_processes>> first(std::in_place, peer_options{.size = large});
  auto& with = *first;
  const auto address = with.peer.address();
  outstanding all(with);
  with.peer.kill();
  const in_processes second({.values = {{"listen", address}}});
  all.all_end_with(errc::peer_restarted);
  auto again = soon(with.client.connect(address, asio::use_future));
  CHECK(text_of(soon(again.request(bytes_of("marks x"), {}, asio::use_future)).payload) == "0");
}
