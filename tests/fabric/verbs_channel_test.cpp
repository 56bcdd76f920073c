#include "path/verbs/channel.hpp"

#include "verbs_channel_rig.hpp"

using namespace weft;
using namespace weft::path;
using namespace weft::tests;

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
