#include "path/verbs/channel.hpp"

#include "fake_nic.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

using namespace weft;
using namespace weft::path;
using weft::tests::fake_nic;

namespace {

constexpr std::uint32_t plenty = 1000; ///< credits

std::vector<std::byte> counting(std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

wire::frame_header message(std::uint32_t number, std::size_t length) {
  return {.type = wire::frame_type::request, .body_length = static_cast<std::uint32_t>(length), .number = number};
}

wire::frame_header slice(std::uint32_t index, std::uint64_t offset, std::uint32_t length) {
  return {.type = wire::frame_type::slice, .body_length = length, .index = index, .transfer = 5, .offset = offset};
}

std::vector<std::byte> frame(const wire::frame_header& header, std::span<const std::byte> body = {}) {
  std::vector<std::byte> bytes(wire::header_size);
  wire::encode(header, std::span<std::byte, wire::header_size>(bytes));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

struct recorder final : listener, driver {
  void frame_arrived(wire::place, const wire::frame_header& header, std::span<const std::byte> body) override {
    frames.push_back(header);
    bodies.emplace_back(body.begin(), body.end());
  }
  void slice_began(wire::place, const wire::frame_header&) override {
    FAIL("a one-sided channel has no payload to place");
  }
  std::size_t slice_space(wire::place, std::span<iovec>) override { return 0; }
  void slice_grew(wire::place, std::size_t) override {}
  void slice_landed(wire::place, const wire::frame_header& header) override { landed.push_back(header); }
  void sent(wire::place, std::uint64_t) override { ++slices_sent; }
  void writable(wire::place) override { ++writables; }
  void batch_begins() override { ++depth; }
  void batch_ends() override { --depth; }
  void channel_failed(wire::place, std::uint32_t, const error& why) override { failures.push_back(why); }
  void protocol_broken(const error& how) override { broken.push_back(how); }
  void channel_closed(wire::place, std::uint32_t) override { ++closings; }

  std::vector<wire::frame_header> frames;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<wire::frame_header> landed;
  std::vector<error> failures;
  std::vector<error> broken;
  int slices_sent = 0;
  int writables = 0;
  int closings = 0;
  int depth = 0;
};

/// A channel on a fake card, with 64 KiB of memory that can be sent.
struct rig {
  explicit rig(std::uint32_t depth = 64, std::uint32_t credits = plenty, duration fence_limit = std::chrono::hours(1))
      : rail(nic.rail()) {
    limits.verbs_fence_limit = fence_limit;
    limits.verbs_receive_slots = 128;
    limits.verbs_send_slots = 32;
    limits.verbs_send_depth = depth;
    shared = verbs::queues::open(rail, context.get_executor(), limits).value();
    REQUIRE(shared->reserve(depth));
    pair = &nic.make_pair(depth);
    auto made = nic.make_endpoint(*pair, shared, credits);
    end = made.get();
    channel = std::make_shared<verbs::channel>(
        std::move(made), context.get_executor(), lane::bulk, 3, events, events,
        [this](std::unique_ptr<verbs::endpoint> used, std::function<void()> done) {
          used.reset();
          boost::asio::post(context, std::move(done));
        },
        limits);
    channel->attach();
  }
  ~rig() {
    CHECK_FALSE(nic.overflown);
    CHECK(events.depth == 0);
    if (!closed) close();
  }

  /// The connection is up, and the peer's first word has come.
  void open() {
    end->on_event(verbs::endpoint::event::established, {});
    run();
    nic.deliver(*pair, {}, plenty);
    run();
    nic.complete_all(*pair);
    run();
    pair->posted.clear();
    pair->doorbells = 0;
  }
  void run() {
    for (int i = 0; i < 100; ++i) {
      const bool any = shared->fetch();
      if (any) shared->deliver();
      if (!any && context.poll() == 0) return;
      context.restart();
    }
  }
  void close() {
    closed = true;
    if (channel->close()) return;
    nic.complete(*pair, pair->posted.back().request.wr_id, IBV_WC_WR_FLUSH_ERR);
    if (end->on_event) end->on_event(verbs::endpoint::event::last_request_reached, {});
    run();
  }

  /// False: it takes none now.
  bool post(std::uint32_t index, std::uint64_t offset, std::uint32_t length) {
    if (!channel->takes_slices()) return false;
    channel->post_slice(slice(index, offset, length), {0, length}, pieces, granted);
    return true;
  }

  fake_nic nic;
  boost::asio::io_context context;
  tunables limits;
  verbs::rail rail;
  std::shared_ptr<verbs::queues> shared;
  recorder events;
  tests::fake_pair* pair = nullptr;
  verbs::endpoint* end = nullptr;
  std::shared_ptr<verbs::channel> channel;
  bool closed = false;
  std::vector<std::byte> memory = counting(64 * 1024);
  std::shared_ptr<const registration> known =
      std::make_shared<const registration>(memory, nullptr, nullptr, std::vector<rail_key>{{77, 78}});
  memory::piece_list pieces{memory, known};
  memory::granted_list granted = [] {
    memory::granted_list list(1);
    list.add_key(99);
    list.add(0, 0x10000, 40 * 1024);
    list.add(0, 0x90000, 24 * 1024);
    return list;
  }();
};

} // namespace

TEST_CASE("a slice is written to where its grant says, and its record follows behind it, with one doorbell") {
  rig with;
  with.open();
  CHECK(with.post(0, 0, 1024));
  CHECK(with.post(1, 1024, 1024));
  CHECK(with.pair->posted.empty());
  with.channel->flush();
  CHECK(with.pair->doorbells == 1);
  REQUIRE(with.pair->posted.size() == 3);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto& write = with.pair->posted[i];
    CHECK(write.request.opcode == IBV_WR_RDMA_WRITE);
    CHECK(write.request.wr.rdma.remote_addr == 0x10000 + i * 1024);
    CHECK(write.request.wr.rdma.rkey == 99);
    CHECK(std::equal(write.bytes.begin(), write.bytes.end(), with.memory.begin() + static_cast<int>(i) * 1024));
  }
  const auto& records = with.pair->posted[2];
  CHECK(records.request.opcode == IBV_WR_SEND_WITH_IMM);
  auto expected = frame(slice(0, 0, 1024));
  const auto second = frame(slice(1, 1024, 1024));
  expected.insert(expected.end(), second.begin(), second.end());
  CHECK(records.bytes == expected);
}

TEST_CASE("a message that fits a request goes in it, a longer one from registered memory") {
  rig with;
  with.open();
  for (const std::size_t length : {0, 20, 200}) {
    const auto body = counting(length);
    CHECK(with.channel->post_message(message(1, length), body));
    with.channel->flush();
    const auto& sent = with.pair->posted.back();
    CHECK(((sent.request.send_flags & IBV_SEND_INLINE) != 0) == (wire::header_size + length <= 100));
    CHECK(sent.bytes.size() == wire::header_size + length);
  }
}

TEST_CASE("a slice over two places of the grant takes a write for each") {
  rig with;
  with.open();
  CHECK(with.post(0, 0, 64 * 1024));
  with.channel->flush();
  REQUIRE(with.pair->posted.size() == 3);
  CHECK(with.pair->posted[0].bytes.size() == 40 * 1024);
  CHECK(with.pair->posted[1].bytes.size() == 24 * 1024);
  CHECK(with.pair->posted[1].request.wr.rdma.remote_addr == 0x90000);
}

TEST_CASE("memory is told free when its last write has ended, not when the record has") {
  rig with;
  with.open();
  CHECK(with.post(0, 0, 64 * 1024));
  with.channel->flush();
  const auto first = with.pair->posted[0].request.wr_id;
  with.nic.complete(*with.pair, first);
  with.run();
  CHECK(with.events.slices_sent == 0);
  with.nic.complete(*with.pair, first + 1);
  with.run();
  CHECK(with.events.slices_sent == 1);
  // Once more, and late: neither changes anything.
  with.nic.complete(*with.pair, first + 1);
  with.nic.complete(*with.pair, first);
  with.run();
  CHECK(with.events.slices_sent == 1);
}

TEST_CASE("the last request of a batch reports its end, and one in sixteen of the others") {
  rig with;
  with.open();
  for (std::uint32_t i = 0; i < 40; ++i) CHECK(with.post(i, 64 * i, 64));
  with.channel->flush();
  std::size_t silent = 0;
  for (const auto& each : with.pair->posted) {
    silent = (each.request.send_flags & IBV_SEND_SIGNALED) != 0 ? 0 : silent + 1;
    CHECK(silent < 16);
  }
  CHECK(silent == 0);
}

TEST_CASE("more than the send queue holds waits for completions, in its order") {
  rig with(32);
  with.open();
  std::uint32_t taken = 0;
  while (taken < 60 && with.post(taken, 64 * taken, 64)) ++taken;
  CHECK(taken == 60);
  CHECK(with.channel->post_message(message(1, 0), {}));
  with.channel->flush();
  CHECK(with.pair->posted.size() < 32);
  for (int i = 0; i < 10; ++i) {
    with.nic.complete_all(*with.pair);
    with.run();
    with.channel->flush();
  }
  CHECK(with.events.slices_sent == 60);
  std::vector<std::byte> stream;
  std::size_t writes = 0;
  for (const auto& each : with.pair->posted) {
    if (each.request.opcode == IBV_WR_RDMA_WRITE) {
      ++writes;
    } else {
      stream.insert(stream.end(), each.bytes.begin(), each.bytes.end());
      CHECK(stream.size() / wire::header_size <= writes + 1); // no record before its slice
    }
  }
  CHECK(writes == 60);
  CHECK(stream.size() == 61 * wire::header_size);
}

TEST_CASE("a long message is cut into slots, and found again whatever the cuts") {
  rig with;
  with.open();
  const auto body = counting(10'000);
  CHECK(with.channel->post_message(message(1, body.size()), body));
  with.channel->flush();
  REQUIRE(with.pair->posted.size() == 3);
  std::vector<std::byte> stream;
  for (const auto& each : with.pair->posted) {
    CHECK(each.bytes.size() <= verbs::queues::slot_size);
    stream.insert(stream.end(), each.bytes.begin(), each.bytes.end());
  }
  CHECK(stream == frame(message(1, body.size()), body));
  for (const std::size_t cut : {1, 63, 64, 65, 4096}) {
    with.events.bodies.clear();
    for (std::size_t at = 0; at < stream.size(); at += cut) {
      with.nic.deliver(*with.pair, std::span(stream).subspan(at, std::min(cut, stream.size() - at)), plenty);
      with.run();
      with.channel->flush();
      with.nic.complete_all(*with.pair);
      with.run();
    }
    REQUIRE(with.events.bodies.size() == 1);
    CHECK(with.events.bodies[0] == body);
  }
}

TEST_CASE("nothing is sent without credit, and the last one is kept for returning credits") {
  rig with(64, 4);
  with.end->on_event(verbs::endpoint::event::established, {});
  with.run();
  CHECK(with.pair->posted.size() == 1); // the first word, without contents
  CHECK(with.pair->posted[0].bytes.empty());
  with.nic.deliver(*with.pair, {}, 4);
  with.run();
  const auto body = counting(20'000);
  CHECK(with.channel->post_message(message(1, body.size()), body));
  with.channel->flush();
  CHECK(with.pair->posted.size() == 3); // of four credits, one was used before and one is kept
  with.nic.deliver(*with.pair, {}, 7);
  with.run();
  with.channel->flush();
  CHECK(with.pair->posted.size() == 6);
  with.nic.deliver(*with.pair, {}, 20);
  with.run();
  with.channel->flush();
  std::size_t bytes = 0;
  for (const auto& each : with.pair->posted) bytes += each.bytes.size();
  CHECK(bytes == wire::header_size + body.size());
}

TEST_CASE("a peer is told of its credits before it has to wait, and never of more than there are slots") {
  rig with;
  with.open();
  const auto word = frame(message(1, 0));
  std::uint32_t came = 1;
  std::uint32_t allowed = verbs::queues::least_credits;
  for (int i = 0; i < 500; ++i) {
    with.nic.deliver(*with.pair, word, plenty);
    ++came;
    with.run();
    with.channel->flush();
    if (!with.pair->posted.empty()) allowed = ntohl(with.pair->posted.back().request.imm_data);
    CHECK(allowed > came); // it can go on
    CHECK(allowed - came <= with.limits.verbs_receive_slots);
    with.nic.complete_all(*with.pair);
    with.run();
  }
  CHECK(with.pair->posted.size() < 100); // and not for each message
  CHECK(with.events.frames.size() == 500);
  CHECK(with.events.broken.empty());
}

TEST_CASE("a message beyond its credit breaks the protocol") {
  rig with;
  with.open(); // one of three came
  const auto word = frame(message(1, 0));
  for (int i = 0; i < 3; ++i) with.nic.deliver(*with.pair, word, plenty);
  REQUIRE(with.shared->fetch());
  with.shared->deliver(); // no flush between: nothing was returned
  REQUIRE(with.events.broken.size() == 1);
  CHECK(with.events.broken[0] == errc::protocol_error);
  CHECK(with.events.broken[0].where().find("credit") != std::string::npos);
  CHECK(with.events.frames.size() == 2);
}

TEST_CASE("what is no part of the protocol breaks it") {
  rig with;
  with.open();
  SUBCASE("a message that says nothing of credits") {
    with.nic.deliver(*with.pair, frame(message(1, 0)), 0, IBV_WC_RECV, 0);
  }
  SUBCASE("a write with immediate data") {
    with.nic.deliver(*with.pair, {}, plenty, IBV_WC_RECV_RDMA_WITH_IMM);
  }
  SUBCASE("bytes that are no frame") {
    with.nic.deliver(*with.pair, counting(200), plenty);
  }
  with.run();
  REQUIRE(with.events.broken.size() == 1);
  CHECK(with.events.broken[0] == errc::protocol_error);
}

TEST_CASE("records are told as slices that have landed") {
  rig with;
  with.open();
  with.nic.deliver(*with.pair, frame(slice(4, 4096, 1024)), plenty);
  with.run();
  REQUIRE(with.events.landed.size() == 1);
  CHECK(with.events.landed[0].index == 4);
}

TEST_CASE(
    "every status but success fails the channel once, with a name, the rail, its GID, the queue pair and the peer") {
  for (int status = IBV_WC_LOC_LEN_ERR; status <= IBV_WC_TM_RNDV_INCOMPLETE; ++status) {
    CAPTURE(status);
    rig with;
    with.open();
    CHECK(with.post(0, 0, 1024));
    with.channel->flush();
    const auto number = with.pair->posted[0].request.wr_id;
    SUBCASE("of a request") {
      with.nic.complete(*with.pair, number, static_cast<ibv_wc_status>(status));
    }
    SUBCASE("of a receive") {
      with.nic.fail_receive(*with.pair, static_cast<ibv_wc_status>(status));
    }
    with.run();
    REQUIRE(with.events.failures.size() == 1);
    const auto& why = with.events.failures[0];
    CHECK(why == errc::path_failed);
    for (const auto* part : {"fake0:1", "GID index 3", "queue pair 100", "10.0.0.2:7000", "vendor error"}) {
      CHECK(why.where().find(part) != std::string::npos);
    }
    CHECK(why.where().find(ibv_wc_status_str(static_cast<ibv_wc_status>(status))) != std::string::npos);
    const bool own = status <= IBV_WC_LOC_PROT_ERR || status == IBV_WC_MW_BIND_ERR || status == IBV_WC_LOC_ACCESS_ERR ||
                     status == IBV_WC_LOC_RDD_VIOL_ERR;
    CHECK((why.where().find("fault of this end") != std::string::npos) == own);
    if (status == IBV_WC_REM_ACCESS_ERR) CHECK(why.where().find("the peer did not take it") != std::string::npos);
    CHECK(with.events.slices_sent == 0);
  }
}

TEST_CASE("a request that the device refuses fails the channel, not inside the call") {
  rig with;
  with.open();
  CHECK(with.channel->post_message(message(1, 0), {}));
  with.nic.post_fails_with = ENOMEM;
  with.channel->flush();
  CHECK(with.events.failures.empty());
  with.run();
  REQUIRE(with.events.failures.size() == 1);
  CHECK(with.events.failures[0].where().find("post_send") != std::string::npos);
  with.nic.post_fails_with = 0;
}

TEST_CASE("the fence waits for the flush of all requests and for the last receive, and what came before counts") {
  rig with;
  with.open();
  CHECK(with.post(0, 0, 1024));
  with.channel->flush();
  CHECK_FALSE(with.channel->close());
  with.closed = true;
  CHECK(with.pair->state == IBV_QPS_ERR);
  const auto last = with.pair->posted.back().request;
  CHECK((last.send_flags & IBV_SEND_SIGNALED) != 0);
  with.nic.deliver(*with.pair, frame(message(1, 0)), plenty); // had arrived
  for (const auto& each : with.pair->posted) {
    with.nic.complete(*with.pair, each.request.wr_id, IBV_WC_WR_FLUSH_ERR);
  }
  with.run();
  CHECK(with.events.frames.size() == 1);
  CHECK(with.events.closings == 0);
  CHECK(with.events.failures.empty()); // it is being closed
  with.nic.deliver(*with.pair, frame(message(2, 0)), plenty);
  with.end->on_event(verbs::endpoint::event::last_request_reached, {});
  with.run();
  CHECK(with.events.frames.size() == 2);
  CHECK(with.events.closings == 1);
  CHECK(with.channel->close());
  CHECK(with.events.slices_sent == 0);
}

TEST_CASE("a device that never tells the end of a queue pair does not hold up the fence for ever") {
  rig with(64, plenty, std::chrono::milliseconds(1));
  with.open();
  CHECK_FALSE(with.channel->close());
  with.closed = true;
  CHECK(with.events.closings == 0);
  while (with.events.closings == 0) {
    with.context.restart();
    with.context.run_one();
  }
  CHECK(with.channel->close());
}

TEST_CASE("a channel takes no slices before its connection is up") {
  rig with;
  CHECK_FALSE(with.post(0, 0, 64));
  with.end->on_event(verbs::endpoint::event::established, {});
  with.run();
  CHECK(with.events.writables == 1);
  CHECK(with.channel->takes_slices());
}

TEST_CASE("credits and completion slots are refused to a queue pair that they do not suffice for") {
  rig with;
  std::uint32_t pairs = 0;
  while (pairs < 1000 && with.shared->reserve(64)) ++pairs;
  CHECK(pairs + 1 == with.limits.verbs_receive_slots / verbs::queues::least_credits);
  CHECK(with.nic.capacity >= static_cast<int>((pairs + 1) * 64 + with.limits.verbs_receive_slots));
  for (; pairs > 0; --pairs) with.shared->release(64, verbs::queues::least_credits);
  CHECK(with.shared->reserve(64));
}
