// One engine against a peer that the test plays frame by frame: the rules that a history of two engines rarely shows.
#include "link/engine.hpp"

#include "base/crc32c.hpp"

#include <doctest/doctest.h>

#include <optional>

using namespace weft;
using namespace weft::links;
using wire::frame_type;

namespace {

constexpr std::uint64_t theirs = (std::uint64_t{1} << 63) | 1; // the peer accepted the link
constexpr lane lanes_here[] = {lane::standard, lane::bulk};

struct fake_channel final : path::channel {
  [[nodiscard]] path::capabilities can() const noexcept override { return {.one_sided = one_sided}; }
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return epoch_; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte> body) override {
    messages.push_back(header);
    bodies.emplace_back(body.begin(), body.end());
    return true;
  }
  [[nodiscard]] bool takes_slices() const noexcept override { return true; }
  [[nodiscard]] path::posted post_slice(const wire::frame_header& header, const memory::piece_list&,
                                        const memory::granted_list&) override {
    slices.push_back(header);
    return path::posted::pending;
  }
  [[nodiscard]] bool close() override { return true; }
  void flush() override {}

  [[nodiscard]] std::vector<wire::frame_header> of(frame_type type) const {
    std::vector<wire::frame_header> found;
    std::copy_if(messages.begin(), messages.end(), std::back_inserter(found),
                 [type](auto& one) { return one.type == type; });
    return found;
  }

  std::uint32_t epoch_ = 1;
  bool one_sided = false;
  std::vector<wire::frame_header> messages;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<wire::frame_header> slices;
};

struct slot final : completion {
  explicit slot(std::optional<outcome>& to) : into(to) {}
  void complete(outcome&& ended) override {
    CHECK_FALSE(into.has_value());
    into = std::move(ended);
  }
  std::optional<outcome>& into;
};

struct bench final : host {
  bench() {
    advance(0ms);
    engine_.channel_up(lane::standard, messages);
    engine_.channel_up(lane::bulk, data);
    settle();
  }

  void open_channel(lane) override { ++opens; }
  void close_channel(lane on) override { closed.push_back(on); }
  void operation_arrived(const incoming& begun) override {
    arrived = begun.id;
    deadline = begun.deadline;
  }
  void protocol_broken(const error& how) override { broken = how.where(); }

  void advance(duration by) {
    now += by;
    engine_.advance(now);
    engine_.tick();
    settle();
  }
  void settle() {
    engine_.flush();
    rail.run(1 << 30);
    engine_.flush_channels();
  }
  /// The peer's next message.
  void hear(wire::frame_header header, std::vector<std::byte> body = {}) {
    header.number = ++heard;
    header.epoch = messages.epoch_;
    if (!body.empty()) {
      header.flags = wire::flag_body_crc;
      header.body_length = static_cast<std::uint32_t>(body.size());
      header.body_crc = crc32c(body);
    }
    engine_.frame_arrived(lane::standard, header, body);
    settle();
  }
  void hear_request(wire::operation_kind kind, std::uint64_t length) {
    std::vector<std::byte> body;
    wire::encode(
        wire::request{.kind = kind, .carries = lane::bulk, .slice_size = 65536, .length = length, .window = 1 << 20},
        body);
    hear({.type = frame_type::request, .transfer = theirs}, body);
  }
  void hear_progress(std::uint64_t transfer, std::vector<wire::slice_range> ranges) {
    std::vector<std::byte> body;
    wire::encode(std::span<const wire::slice_range>(ranges), body);
    hear({.type = frame_type::progress, .transfer = transfer}, body);
  }
  void hear_slice(std::uint64_t transfer, std::uint32_t index, bool damaged, std::uint32_t received = 0) {
    wire::frame_header header{.type = frame_type::slice,
                              .flags = wire::flag_body_crc,
                              .body_length = 65536,
                              .epoch = data.epoch_,
                              .received = received,
                              .index = index,
                              .transfer = transfer,
                              .offset = index * 65536U};
    header.body_crc = crc32c(std::span(memory).first(65536)) + (damaged ? 1 : 0);
    engine_.slice_began(lane::bulk, header);
    iovec space[4];
    if (engine_.slice_space(lane::bulk, space) > 0) engine_.slice_grew(lane::bulk, 65536);
    settle();
  }
  operation_id begin(wire::operation_kind kind, std::uint64_t length, duration timeout = 1h) {
    operation_request asked;
    asked.kind = kind;
    asked.carries = lane::bulk;
    asked.pieces = pieces(length);
    asked.slice_size = 65536;
    asked.deadline = now + timeout;
    const auto id = engine_.start(std::move(asked), owner());
    settle();
    return id;
  }
  memory::piece_list pieces(std::uint64_t length) { return {std::span(memory).first(length), nullptr}; }
  std::unique_ptr<completion> owner() { return std::make_unique<slot>(result); }

  tunables limits;
  lanes::scheduler rail{{1, 1, 1, 1}};
  std::vector<std::byte> memory = std::vector<std::byte>(1 << 20);
  fake_channel messages, data;
  time_point now = time_point{} + 1s;
  engine engine_{*this, rail, limits, lanes_here, true};
  std::uint32_t heard = 0;
  int opens = 0;
  std::vector<lane> closed;
  operation_id arrived = 0;
  time_point deadline{};
  std::optional<std::string> broken;
  std::optional<outcome> result;
};

} // namespace

TEST_CASE("a read that was served ends only when the channel has let go of its memory") {
  bench end;
  end.hear_request(wire::operation_kind::read, 65536);
  end.engine_.supply_read(theirs, end.pieces(65536), {}, end.owner());
  end.settle();
  REQUIRE(end.data.slices.size() == 1);
  end.hear_progress(theirs, {{0, 1, false}});
  CHECK_FALSE(end.result.has_value());
  SUBCASE("by saying so") {
    end.engine_.sent(lane::bulk, theirs);
  }
  SUBCASE("by its end") {
    end.engine_.channel_down(lane::bulk);
  }
  SUBCASE("by force, when it does neither in time") {
    end.advance(end.limits.fence_timeout);
    CHECK(end.closed == std::vector{lane::bulk});
    end.engine_.channel_down(lane::bulk);
  }
  end.settle();
  CHECK_FALSE(end.result.value().code);
  CHECK(end.engine_.outstanding() == 0);
}

TEST_CASE("a refused slice is told at once, also when good ones followed it") {
  bench end;
  end.begin(wire::operation_kind::read, 5 * 65536);
  const auto id = end.messages.of(frame_type::request).at(0).transfer;
  end.engine_.flush();
  for (std::uint32_t index = 0; index < 4; ++index) end.hear_slice(id, index, index == 1);
  REQUIRE(end.messages.of(frame_type::progress).size() >= 1);
  CHECK(wire::decode_ranges(end.messages.bodies.at(1)).value().all() ==
        std::vector<wire::slice_range>{{0, 1, false}, {1, 1, true}});
  CHECK(end.engine_.counters().slices_refused == 1);
}

TEST_CASE("progress is told after a while, however little it is") {
  bench end;
  end.begin(wire::operation_kind::read, 5 * 65536);
  end.hear_slice(end.messages.of(frame_type::request).at(0).transfer, 0, false);
  CHECK(end.messages.of(frame_type::progress).empty());
  end.advance(10ms);
  CHECK(end.messages.of(frame_type::progress).size() == 1);
}

TEST_CASE("slices acknowledge messages too") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  end.hear_slice(id, 0, false, 1);
  CHECK_FALSE(end.broken.has_value());
  end.hear_slice(id, 1, false, 99);
  CHECK(end.broken.value() == "acknowledgement of messages that were never sent");
}

TEST_CASE("a slice of another epoch than its channel's breaks the protocol") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.engine_.channel_down(lane::bulk);
  end.data.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, end.data);
  end.hear_slice(id, 0, false);
  CHECK_FALSE(end.broken.has_value());
  end.engine_.slice_began(lane::bulk, {.type = frame_type::slice, .body_length = 65536, .epoch = 7, .transfer = id});
  CHECK(end.broken.value() == "slice of another channel's epoch");
}

TEST_CASE("a handler cannot declare success before the data is verified") {
  bench end;
  end.hear_request(wire::operation_kind::write, 65536);
  SUBCASE("before it granted") {
    end.engine_.respond(theirs, {}, "", {});
  }
  SUBCASE("while it moves") {
    end.engine_.accept_write(theirs, end.pieces(65536), end.owner());
    end.engine_.respond(theirs, {}, "", {});
  }
  end.settle();
  CHECK(end.messages.of(frame_type::response).at(0).code == static_cast<std::uint32_t>(errc::handler_failed));
}

TEST_CASE("a success of a write whose data was not verified breaks the protocol") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 65536);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  REQUIRE(end.data.slices.size() == 1);
  end.hear({.type = frame_type::response, .transfer = id, .argument = 1}, std::vector<std::byte>(2));
  CHECK(end.broken.has_value());
  CHECK_FALSE(end.result.has_value());
}

TEST_CASE("a read of nothing still asks the peer") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 0);
  CHECK_FALSE(end.result.has_value());
  SUBCASE("which agrees") {
    end.hear({.type = frame_type::response, .transfer = id}, std::vector<std::byte>(2));
    CHECK_FALSE(end.result.value().code);
  }
  SUBCASE("which refuses") {
    end.hear({.type = frame_type::response, .transfer = id, .code = static_cast<std::uint32_t>(errc::not_found)},
             std::vector<std::byte>(2));
    CHECK(end.result.value().code == errc::not_found);
  }
}

TEST_CASE("messages behind a damaged one wait for the next channel") {
  bench end;
  wire::frame_header damaged{.type = frame_type::cancel,
                             .flags = wire::flag_body_crc,
                             .body_length = 1,
                             .body_crc = 1,
                             .epoch = 1,
                             .number = 1};
  end.engine_.frame_arrived(lane::standard, damaged, std::vector<std::byte>(1));
  CHECK(end.closed == std::vector{lane::standard});
  end.heard = 1;
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK_FALSE(end.broken.has_value());
  CHECK(end.closed.size() == 1);
  end.engine_.channel_down(lane::standard);
  end.messages.epoch_ = 2;
  end.engine_.channel_up(lane::standard, end.messages);
  end.heard = 0;
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK_FALSE(end.broken.has_value());
}

TEST_CASE("an operation whose time is up already is not begun without a deadline at the peer") {
  bench end;
  operation_request asked;
  asked.kind = wire::operation_kind::request;
  asked.deadline = end.now - 1s;
  end.engine_.start(std::move(asked), end.owner());
  end.engine_.flush();
  wire::reader in(end.messages.bodies.at(0));
  CHECK(wire::decode_request(in).value().time_left_ns > 0);
  end.advance(1ns);
  CHECK(end.result.value().code == errc::deadline_exceeded);
}

TEST_CASE("an operation that waits for room still has its deadline") {
  bench end;
  end.limits.operations_max = 1;
  end.begin(wire::operation_kind::write, 65536, 10ms);
  std::optional<outcome> queued;
  operation_request asked;
  asked.kind = wire::operation_kind::write;
  asked.pieces = end.pieces(10);
  asked.deadline = end.now + 1ms;
  end.engine_.start(std::move(asked), std::make_unique<slot>(queued));
  end.settle();
  CHECK(end.messages.of(frame_type::request).size() == 1);
  end.advance(1ms);
  CHECK(queued.value().code == errc::deadline_exceeded);
  CHECK_FALSE(queued->maybe_executed);
  CHECK_FALSE(end.result.has_value());
}

TEST_CASE("the smallest window of a peer is acknowledged before it is full") {
  bench end;
  for (int i = 0; i < 15; ++i) end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK(end.messages.messages.back().type == frame_type::acknowledge);
  CHECK(end.messages.messages.back().received >= 8);
}

TEST_CASE("what was sent over a lost channel waits for the peer's fence") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 2 * 65536);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  REQUIRE(end.data.slices.size() == 2);
  end.engine_.channel_down(lane::bulk);
  end.data.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, end.data);
  end.settle();
  CHECK(end.data.slices.size() == 2);
  end.hear_progress(id, {{0, 1, false}});
  end.hear({.type = frame_type::channel_fenced, .index = static_cast<std::uint32_t>(lane::bulk), .code = 1});
  REQUIRE(end.data.slices.size() == 3);
  CHECK(end.data.slices.back().index == 1);
  CHECK(end.data.slices.back().epoch == 2);
}

TEST_CASE("after the end of its link an engine ends what is started, with the link's reason") {
  bench end;
  end.engine_.channel_down(lane::standard);
  end.engine_.channel_down(lane::bulk);
  end.engine_.fail_all(error(errc::peer_lost));
  const auto opens = end.opens;
  end.begin(wire::operation_kind::read, 10);
  CHECK(end.result.value().code == errc::peer_lost);
  CHECK(end.opens == opens);
}

TEST_CASE("a cancelled read over a one-sided channel waits for the sender's marker") {
  bench end;
  end.engine_.channel_down(lane::bulk);
  end.data.one_sided = true;
  end.data.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, end.data);
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.engine_.cancel(id, errc::cancelled);
  end.settle();
  CHECK_FALSE(end.result.has_value());
  SUBCASE("which comes") {
    end.engine_.frame_arrived(lane::bulk, {.type = frame_type::marker, .epoch = 2, .transfer = id}, {});
    CHECK(end.closed.empty());
  }
  SUBCASE("which does not come, and the channel is closed") {
    end.advance(end.limits.fence_timeout);
    CHECK(end.closed == std::vector{lane::bulk});
    CHECK_FALSE(end.result.has_value());
    end.engine_.channel_down(lane::bulk);
  }
  end.settle();
  CHECK(end.result.value().code == errc::cancelled);
}

TEST_CASE("a peer's code that is none of the list reaches nobody") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 65536);
  end.hear({.type = frame_type::response, .transfer = id, .code = 12345}, std::vector<std::byte>(2));
  REQUIRE(end.result.has_value());
  CHECK(end.result->code == errc::handler_failed);
}

TEST_CASE("a record of a slice that no transfer has breaks the protocol, and is looked up nowhere") {
  bench end;
  end.hear_request(wire::operation_kind::write, 65536);
  end.engine_.accept_write(theirs, end.pieces(65536), end.owner());
  end.settle();
  end.engine_.slice_landed(lane::bulk, {.type = frame_type::slice,
                                        .flags = wire::flag_body_crc,
                                        .body_length = 65536,
                                        .epoch = end.data.epoch_,
                                        .index = 1'000'000,
                                        .transfer = theirs,
                                        .offset = 65536});
  CHECK(end.broken.has_value());
}
