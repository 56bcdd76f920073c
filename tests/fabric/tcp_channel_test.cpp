// A channel over a real connection, with the test at its other end.
#include "path/tcp/channel.hpp"

#include <doctest/doctest.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <atomic>
#include <cstring>
#include <numeric>
#include <optional>
#include <string>
#include <thread>

using namespace weft;
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

/// What a channel tells, and where it may put payload.
struct recorder final : path::listener, path::driver {
  void frame_arrived(wire::place, const wire::frame_header& header, std::span<const std::byte> body) override {
    frames.push_back(header);
    bodies.emplace_back(body.begin(), body.end());
  }
  void slice_began(wire::place, const wire::frame_header& header) override {
    slices.push_back(header);
    done = 0;
  }
  std::size_t slice_space(wire::place, std::span<iovec> out) override {
    if (memory.empty()) return 0;
    out[0] = {memory.data() + slices.back().offset + done, slices.back().body_length - done};
    return 1;
  }
  void slice_grew(wire::place, std::size_t bytes) override {
    done += bytes;
    slices_whole += done == slices.back().body_length ? 1 : 0;
  }
  void slice_landed(wire::place, const wire::frame_header&) override {}
  void sent(wire::place, std::uint64_t transfer) override { transfers_sent.push_back(transfer); }
  void landed(wire::place, std::uint64_t marks) override { marks_landed.push_back(marks); }
  void writable(wire::place) override { ++times_writable; }
  void batch_begins() override { ++batches; }
  void batch_ends() override { --batches; }
  void channel_failed(wire::place, std::uint32_t, const error& why) override { failure = why; }
  void channel_closed(wire::place, std::uint32_t) override {}
  void protocol_broken(const error& how) override { failure = how; }

  std::vector<wire::frame_header> frames;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<wire::frame_header> slices;
  std::vector<std::byte> memory;
  std::size_t done = 0;
  int slices_whole = 0;
  std::vector<std::uint64_t> transfers_sent;
  std::vector<std::uint64_t> marks_landed;
  int times_writable = 0;
  int batches = 0;
  std::optional<error> failure;
};

struct connected {
  /// `buffer`: of the channel's socket; 0: as the system has it.
  explicit connected(int buffer = 0) : acceptor(context, {asio::ip::address_v4::loopback(), 0}), other(context) {
    other.connect(acceptor.local_endpoint());
    auto accepted = acceptor.accept();
    if (buffer > 0) accepted.set_option(tcp::socket::send_buffer_size(buffer));
    channel = std::make_shared<path::tcp::channel>(std::move(accepted), lane::bulk, 3, seen, seen);
    channel->start();
  }
  ~connected() { channel->close(); }

  template <class Condition>
  bool run_until(Condition holds) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!holds() && std::chrono::steady_clock::now() < until) {
      context.restart();
      context.run_one_for(std::chrono::milliseconds(50));
    }
    return holds();
  }
  void say(const wire::frame_header& header, std::span<const std::byte> body = {}) {
    std::array<std::byte, wire::header_size> bytes;
    wire::encode(header, bytes);
    asio::write(other, asio::buffer(bytes));
    asio::write(other, asio::buffer(body.data(), body.size()));
  }

  /// The next frame without a body that comes at the other end.
  wire::frame_header hear() {
    std::array<std::byte, wire::header_size> bytes;
    std::thread reader([&] { asio::read(other, asio::buffer(bytes)); });
    channel->flush();
    context.restart();
    context.run_for(std::chrono::milliseconds(20));
    reader.join();
    return wire::decode(bytes).value();
  }

  asio::io_context context;
  tcp::acceptor acceptor;
  tcp::socket other;
  recorder seen;
  std::shared_ptr<path::tcp::channel> channel;
};

std::vector<std::byte> counting(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 >> 3);
  return bytes;
}

wire::frame_header message(std::uint32_t number, std::size_t length) {
  return {.type = wire::frame_type::request,
          .body_length = static_cast<std::uint32_t>(length),
          .epoch = 3,
          .number = number,
          .transfer = number};
}

wire::frame_header slice(std::uint64_t offset, std::size_t length) {
  return {.type = wire::frame_type::slice,
          .body_length = static_cast<std::uint32_t>(length),
          .epoch = 3,
          .transfer = 5,
          .offset = offset};
}

} // namespace

TEST_CASE("frames are found in whatever portions they arrive") {
  connected with;
  const auto body = counting(1000);
  std::vector<std::byte> stream;
  for (std::uint32_t i = 1; i <= 3; ++i) {
    std::array<std::byte, wire::header_size> bytes;
    wire::encode(message(i, body.size()), bytes);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    stream.insert(stream.end(), body.begin(), body.end());
  }
  std::size_t portion = 0;
  SUBCASE("one byte each") {
    portion = 1;
  }
  SUBCASE("odd ones") {
    portion = 61;
  }
  SUBCASE("all at once") {
    portion = stream.size();
  }
  for (std::size_t at = 0; at < stream.size(); at += portion) {
    asio::write(with.other, asio::buffer(stream.data() + at, std::min(portion, stream.size() - at)));
    with.context.restart();
    with.context.poll();
  }
  CHECK(with.run_until([&] { return with.seen.frames.size() == 3; }));
  for (const auto& each : with.seen.bodies) CHECK(each == body);
  CHECK(with.seen.batches == 0);
}

TEST_CASE("payload lands where the listener says, and frames behind it are found") {
  connected with;
  with.seen.memory.resize(1 << 20);
  const auto payload = counting(1 << 20);
  std::thread writer([&] {
    for (std::size_t at = 0; at < payload.size(); at += 256 * 1024) {
      with.say(slice(at, 256 * 1024), std::span(payload).subspan(at, 256 * 1024));
      with.say(message(1, 0));
    }
  });
  CHECK(with.run_until([&] { return with.seen.slices_whole == 4 && with.seen.frames.size() == 4; }));
  writer.join();
  CHECK(with.seen.memory == payload);
}

TEST_CASE("payload that nobody wants is dropped, and the stream goes on") {
  connected with;
  std::thread writer([&] {
    with.say(slice(0, 300'000), counting(300'000));
    with.say(message(1, 3), counting(3));
  });
  CHECK(with.run_until([&] { return with.seen.frames.size() == 1; }));
  writer.join();
  CHECK(with.seen.slices_whole == 1);
}

TEST_CASE("messages leave before the slices that wait, and slices in the order in which they were posted") {
  connected with;
  auto bytes = counting(300'000);
  const memory::piece_list pieces(bytes, nullptr);
  const auto body = counting(100);
  std::vector<std::byte> expected;
  const auto expect = [&expected](const wire::frame_header& header, std::span<const std::byte> payload) {
    std::array<std::byte, wire::header_size> encoded;
    wire::encode(header, encoded);
    expected.insert(expected.end(), encoded.begin(), encoded.end());
    expected.insert(expected.end(), payload.begin(), payload.end());
  };
  CHECK(with.channel->post_message(message(1, 100), body));
  expect(message(1, 100), body);
  expect(message(2, 100), body);
  for (std::uint64_t i = 0; i < 3; ++i) {
    auto header = slice(i * 100'000, 100'000);
    header.transfer = i;
    with.channel->post_slice(header, {0, header.body_length}, pieces, {});
    expect(header, std::span(bytes).subspan(header.offset, header.body_length));
  }
  CHECK(with.channel->post_message(message(2, 100), body));
  CHECK(with.channel->takes_slices());
  CHECK(with.seen.transfers_sent.empty());
  std::vector<std::byte> got(expected.size());
  std::thread reader([&] { asio::read(with.other, asio::buffer(got)); });
  with.channel->flush();
  CHECK(with.run_until([&] { return with.seen.transfers_sent.size() == 3; }));
  reader.join();
  CHECK(with.seen.transfers_sent == std::vector<std::uint64_t>{0, 1, 2});
  CHECK(got == expected);
}

TEST_CASE(
    "while the socket is full a message waits for the rest of one slice, and a slice's place is free when it is out") {
  connected with(128 * 1024);
  auto bytes = counting(1 << 20);
  const memory::piece_list pieces(bytes, nullptr);
  constexpr std::uint32_t part = 64 * 1024;
  std::uint64_t posted = 0;
  const auto post = [&] {
    while (with.channel->takes_slices()) {
      auto header = slice(0, part);
      header.transfer = posted++;
      with.channel->post_slice(header, {0, part}, pieces, {});
    }
    with.channel->flush();
  };
  for (std::uint64_t before = 1; before != posted;) {
    before = posted;
    post();
  }
  CHECK(with.seen.transfers_sent.size() < posted);
  const auto out = with.seen.transfers_sent.size();
  CHECK(with.channel->post_message(message(1, 0), {}));
  with.channel->flush();
  // The other end takes frame by frame, until the message comes.
  std::uint64_t slices = 0;
  std::optional<std::uint64_t> places;
  std::vector<std::byte> payload(part);
  for (;;) {
    std::array<std::byte, wire::header_size> encoded;
    std::thread reader([&] { asio::read(with.other, asio::buffer(encoded)); });
    with.context.restart();
    with.context.run_for(std::chrono::milliseconds(1));
    if (!places && with.channel->takes_slices()) places = with.seen.transfers_sent.size();
    reader.join();
    const auto header = wire::decode(encoded);
    REQUIRE(header.has_value());
    if (header->type != wire::frame_type::slice) break;
    CHECK(header->transfer == slices++);
    std::thread of_payload([&] { asio::read(with.other, asio::buffer(payload)); });
    with.context.run_for(std::chrono::milliseconds(1));
    of_payload.join();
  }
  CHECK(slices <= out + 1);
  REQUIRE(places.has_value());
  CHECK(*places < posted); // before all that waited were out
  CHECK(with.seen.times_writable > 0);
}

TEST_CASE("a full socket refuses, holds what it took, and says when it takes more") {
  connected with;
  auto bytes = counting(1 << 20);
  const memory::piece_list pieces(bytes, nullptr);
  std::size_t taken = 0;
  // The connection's buffers take some.
  while (with.channel->takes_slices()) {
    with.channel->post_slice(slice(0, 1 << 20), {0, 1 << 20}, pieces, {});
    ++taken;
    with.channel->flush();
  }
  CHECK(with.seen.transfers_sent.size() < taken);
  // Messages wait, up to a bound.
  std::size_t messages = 0;
  const auto body = counting(60'000);
  while (with.channel->post_message(message(1, body.size()), body)) ++messages;
  CHECK(messages < 20);
  const auto total = taken * (wire::header_size + bytes.size()) + messages * (wire::header_size + body.size());
  std::vector<std::byte> got(total);
  std::thread reader([&] { asio::read(with.other, asio::buffer(got)); });
  CHECK(with.run_until([&] { return with.seen.times_writable > 0 && with.seen.transfers_sent.size() == taken; }));
  with.channel->flush();
  with.context.run_for(std::chrono::milliseconds(50));
  reader.join();
}

TEST_CASE("a part of a slice is a frame of its own, with its place and its length") {
  connected with;
  auto bytes = counting(4000);
  const memory::piece_list pieces(bytes, nullptr);
  auto whole = slice(0, bytes.size());
  whole.flags = wire::flag_tell;
  with.channel->post_slice(whole, {0, 1000}, pieces, {});
  with.channel->post_slice(whole, {1000, 3000}, pieces, {});
  with.channel->flush();
  for (const auto& [from, length] : {std::pair{0U, 1000U}, std::pair{1000U, 3000U}}) {
    const auto part = with.hear();
    CHECK(part.offset == from);
    CHECK(part.body_length == length);
    CHECK(part.flags == wire::flag_tell);
    std::vector<std::byte> payload(length);
    asio::read(with.other, asio::buffer(payload));
    CHECK(std::equal(payload.begin(), payload.end(), bytes.begin() + from));
  }
  CHECK(with.seen.transfers_sent == std::vector<std::uint64_t>{5, 5});
}

TEST_CASE("frames that ask are answered, slices all together and messages at once") {
  connected with;
  auto asking = slice(0, 100);
  asking.flags = wire::flag_tell;
  const auto payload = counting(100);
  for (int i = 0; i < 3; ++i) with.say(asking, payload);
  with.say(slice(0, 100), payload);
  CHECK(with.run_until([&] { return with.seen.slices.size() == 4; }));
  auto told = with.hear();
  CHECK(told.type == wire::frame_type::landed);
  CHECK(told.argument == 3);
  auto question = message(1, 0);
  question.flags = wire::flag_tell;
  with.say(question);
  CHECK(with.run_until([&] { return with.seen.frames.size() == 1; }));
  std::array<std::byte, wire::header_size> answer;
  asio::read(with.other, asio::buffer(answer)); // nobody flushed
  CHECK(wire::decode(answer)->argument == 4);
  with.say({.type = wire::frame_type::landed, .epoch = 3, .argument = 7});
  with.say({.type = wire::frame_type::landed, .epoch = 2, .argument = 8}); // of a channel before
  with.say(message(2, 0));
  CHECK(with.run_until([&] { return with.seen.frames.size() == 2; }));
  CHECK(with.seen.marks_landed == std::vector<std::uint64_t>{7});
}

TEST_CASE("a peer that asks and does not read gets its answer when it does") {
  connected with;
  std::size_t messages = 0;
  const auto body = counting(60'000);
  while (with.channel->post_message(message(1, body.size()), body)) {
    ++messages;
    with.channel->flush();
  }
  auto asking = message(1, 0);
  asking.flags = wire::flag_tell;
  with.say(asking);
  CHECK(with.run_until([&] { return with.seen.frames.size() == 1; }));
  std::vector<std::byte> got(messages * (wire::header_size + body.size()) + wire::header_size);
  std::thread reader([&] { asio::read(with.other, asio::buffer(got)); });
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  std::atomic<bool> done = false;
  std::thread waiter([&] {
    reader.join();
    done = true;
  });
  while (!done && std::chrono::steady_clock::now() < until) {
    with.context.restart();
    with.context.run_for(std::chrono::milliseconds(5));
    with.channel->flush();
  }
  waiter.join();
  const auto last = wire::decode(std::span(got).last<wire::header_size>());
  REQUIRE(last.has_value());
  CHECK(last->type == wire::frame_type::landed);
  CHECK(last->argument == 1);
}

TEST_CASE("what is no frame ends the channel with its name") {
  connected with;
  SUBCASE("another protocol") {
    asio::write(with.other, asio::buffer(std::string(100, 'x')));
    CHECK(with.run_until([&] { return with.seen.failure.has_value(); }));
    CHECK(with.seen.failure->code() == errc::not_weft);
  }
  SUBCASE("a length beyond all bounds") {
    with.say(message(1, 100'000'000));
    CHECK(with.run_until([&] { return with.seen.failure.has_value(); }));
    CHECK(with.seen.failure->code() == errc::protocol_error);
  }
  SUBCASE("the end") {
    with.other.close();
    CHECK(with.run_until([&] { return with.seen.failure.has_value(); }));
    CHECK(with.seen.failure->code() == errc::path_failed);
  }
  CHECK(with.seen.batches == 0);
}

TEST_CASE("what arrived before the end is told before the end is") {
  connected with;
  // The peer says why it goes, and goes; we write before we read that.
  with.say({.type = wire::frame_type::goodbye});
  with.other.close();
  const auto body = counting(100);
  for (int i = 0; i < 3; ++i) {
    std::ignore = with.channel->post_message(message(1, 100), body);
    with.channel->flush();
  }
  CHECK(with.run_until([&] { return with.seen.failure.has_value(); }));
  REQUIRE(with.seen.frames.size() == 1);
  CHECK(with.seen.frames[0].type == wire::frame_type::goodbye);
}

TEST_CASE("a closed channel reads, writes and tells nothing more") {
  connected with;
  with.seen.memory.resize(1000);
  with.say(slice(0, 1000), counting(500));
  CHECK(with.run_until([&] { return with.seen.done == 500; }));
  with.channel->close();
  const auto before = with.seen.memory;
  error_code ignored;
  asio::write(with.other, asio::buffer(counting(500)), ignored);
  with.context.restart();
  with.context.run_for(std::chrono::milliseconds(20));
  CHECK(with.seen.memory == before);
  CHECK(with.seen.slices_whole == 0);
  CHECK_FALSE(with.seen.failure.has_value());
}

TEST_CASE("a channel that always has more to read lets others have their turn") {
  connected with;
  with.seen.memory.resize(65536);
  constexpr int count = 1024;
  std::thread writer([&, bytes = counting(65536)] {
    for (int i = 0; i < count; ++i) with.say(slice(0, 65536), bytes);
  });
  int most = 0;
  CHECK(with.run_until([&] {
    const auto before = with.seen.slices_whole;
    with.context.restart();
    with.context.run_one_for(std::chrono::seconds(1));
    most = std::max(most, with.seen.slices_whole - before);
    return with.seen.slices_whole == count;
  }));
  writer.join();
  CHECK(most * 65536 <= 2 * 1024 * 1024 + 65536);
}
