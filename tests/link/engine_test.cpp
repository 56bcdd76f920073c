// One engine against a peer that the test plays frame by frame: the rules that a history of two engines rarely shows.
#include "bench.hpp"

#include "../wire/ranges.hpp"
#include "wire/cursor.hpp"

using namespace weft;
using namespace weft::links;

namespace {

struct nobody final : completion {
  void complete(outcome&&) override {}
};

/// The body of a request.
std::vector<std::byte> read_of_one_byte() {
  std::vector<std::byte> body;
  wire::encode(
      wire::request{.kind = wire::operation_kind::read, .carries = lane::bulk, .slice_size = 65536, .length = 1}, body);
  return body;
}

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
    CHECK(end.closed == std::vector<wire::place>{lane::bulk});
    end.engine_.channel_down(lane::bulk);
  }
  end.settle();
  CHECK_FALSE(end.result.value().code);
  CHECK(end.outstanding() == 0);
}

TEST_CASE("a refused slice is told at once, also when good ones followed it") {
  bench end;
  end.begin(wire::operation_kind::read, 5 * 65536);
  const auto id = end.messages.of(frame_type::request).at(0).transfer;
  end.engine_.flush();
  for (std::uint32_t index = 0; index < 4; ++index) end.hear_slice(id, index, index == 1);
  REQUIRE(end.messages.of(frame_type::progress).size() >= 1);
  CHECK(wire::ranges_of(end.messages.bodies.at(1)) == std::vector<wire::slice_range>{{0, 1, false}, {1, 1, true}});
  CHECK(end.engine_.counters().slices_refused == 1);
}

TEST_CASE("slices that fail their check without end break the protocol, as many as a transfer has do not") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 4 * 65536);
  for (std::uint32_t i = 0; i < 24; ++i) end.hear_slice(id, i % 4, true);
  CHECK_FALSE(end.broken.has_value());
  end.hear_slice(id, 0, true);
  CHECK(end.broken.value() == "slices that fail their check without end");
}

TEST_CASE("of what peers grant so much is kept, and only where a channel may need it") {
  bench end;
  bool needed = false;
  SUBCASE("needed") {
    needed = true;
  }
  SUBCASE("not needed") {}
  end.engine_.name_memory(needed);
  std::vector<std::byte> grant;
  wire::writer out(grant);
  out.integer(std::uint8_t{1});  // rails
  out.integer(std::uint16_t{1}); // regions
  out.integer(std::uint32_t{7}); // its key
  out.integer(std::uint16_t{0});
  out.integer(std::uint64_t{4096}); // address
  out.integer(std::uint64_t{1});    // bytes of a piece
  out.integer(std::uint64_t{2});    // from one to the next
  out.integer(std::uint32_t{8192}); // pieces
  const auto grants_kept = (1 << 20) / 8192;
  for (int i = 0; i <= grants_kept; ++i) {
    std::vector<std::byte> body;
    wire::encode(wire::request{.kind = wire::operation_kind::read,
                               .carries = lane::bulk,
                               .slice_size = 65536,
                               .length = 8192,
                               .window = 1 << 20,
                               .grant_length = static_cast<std::uint32_t>(grant.size())},
                 body);
    body.insert(body.end(), grant.begin(), grant.end());
    end.hear({.type = frame_type::request, .transfer = theirs + static_cast<std::uint64_t>(i)}, body);
  }
  CHECK_FALSE(end.broken.has_value());
  const auto answers = end.messages.of(frame_type::response);
  REQUIRE(answers.size() == (needed ? 1 : 0));
  if (!needed) return;
  CHECK(answers[0].transfer == theirs + grants_kept);
  CHECK(answers[0].code == static_cast<std::uint32_t>(errc::limit_exceeded));
  // One that ends makes room for one more.
  end.engine_.respond(theirs, make_error_code(errc::not_found), "", {});
  end.settle();
  CHECK(end.messages.of(frame_type::response).size() == 2);
}

TEST_CASE("a write that ends early tells how much of it was verified") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 4 * 65536, 1s);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  end.hear_progress(id, {{0, 3, false}});
  end.advance(1s);
  for (int i = 0; i < 4; ++i) end.engine_.sent(lane::bulk, id);
  end.settle();
  CHECK(end.result.value().code == errc::deadline_exceeded);
  CHECK(end.result.value().bytes == 3 * 65536);
  CHECK(end.result.value().where == "196608 of 262144 bytes were verified");
}

TEST_CASE("progress is told after a while, however little it is") {
  bench end;
  end.begin(wire::operation_kind::read, 5 * 65536);
  end.hear_slice(end.messages.of(frame_type::request).at(0).transfer, 0, false);
  CHECK(end.messages.of(frame_type::progress).empty());
  end.advance(10ms);
  CHECK(end.messages.of(frame_type::progress).size() == 1);
}

TEST_CASE("a slice of another epoch than its channel's breaks the protocol") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.engine_.channel_down(lane::bulk);
  end.data.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, end.data, end.rail);
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

TEST_CASE("what ends at its deadline says when its lane had no channel") {
  bench end;
  std::string expected;
  SUBCASE("for its slices") {
    end.engine_.channel_down(lane::bulk);
    expected = "0 of 65536 bytes were verified; the bulk lane has no channel now";
  }
  SUBCASE("for its messages") {
    end.engine_.channel_down(lane::standard);
    expected = "0 of 65536 bytes were verified; the standard lane has no channel now";
  }
  end.begin(wire::operation_kind::write, 65536, 10ms);
  end.advance(10ms);
  end.settle();
  CHECK(end.result.value().code == errc::deadline_exceeded);
  CHECK(end.result.value().where == expected);
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

TEST_CASE("what was sent over a lost channel waits for the peer's fence") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 2 * 65536);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  REQUIRE(end.data.slices.size() == 2);
  end.engine_.channel_down(lane::bulk);
  end.data.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, end.data, end.rail);
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
  end.engine_.channel_up(lane::bulk, end.data, end.rail);
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.engine_.cancel(id);
  end.settle();
  CHECK_FALSE(end.result.has_value());
  SUBCASE("which comes") {
    end.engine_.frame_arrived(lane::bulk, {.type = frame_type::marker, .epoch = 2, .transfer = id}, {});
    CHECK(end.closed.empty());
  }
  SUBCASE("which does not come, and the channel is closed") {
    end.advance(end.limits.fence_timeout);
    CHECK(end.closed == std::vector<wire::place>{lane::bulk});
    CHECK_FALSE(end.result.has_value());
    end.engine_.channel_down(lane::bulk);
  }
  end.settle();
  CHECK(end.result.value().code == errc::cancelled);
}

TEST_CASE("a slice that comes over two channels at once breaks the protocol") {
  bench end;
  const wire::place second{lane::bulk, 1};
  fake_channel other;
  end.engine_.channel_up(second, other, end.rail);
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  const wire::frame_header header{.type = frame_type::slice,
                                  .flags = wire::flag_body_crc,
                                  .body_length = 65536,
                                  .body_crc = crc32c(std::span(end.memory).first(65536)),
                                  .epoch = 1,
                                  .transfer = id};
  end.engine_.slice_began(second, header);
  end.hear_slice(id, 0, false);
  CHECK(end.engine_.counters().slices_verified == 1);
  CHECK_FALSE(end.broken.has_value());
  end.engine_.slice_grew(second, 65536);
  CHECK(end.broken.value() == "one slice over two channels at once");
  CHECK(end.engine_.counters().slices_verified == 1);
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

TEST_CASE("what a peer has cancelled counts until its handler has answered, however it does") {
  bench end;
  end.limits.operations_max = 1;
  end.hear_request(wire::operation_kind::read, 65536);
  const auto first = end.arrived;
  end.hear({.type = frame_type::cancel, .transfer = first});
  CHECK(end.outstanding() == 1);
  SUBCASE("with an error") {
    end.engine_.respond(first, errc::os_failure, "late", {});
  }
  SUBCASE("by supplying what nobody wants any more") {
    end.engine_.supply_read(first, end.pieces(65536), {}, end.owner());
    end.settle();
    CHECK(end.result.value().code == errc::cancelled);
    end.engine_.respond(first, errc::cancelled, "later", {});
  }
  end.settle();
  CHECK(end.outstanding() == 0);
  CHECK(end.data.slices.empty());
  CHECK(end.messages.of(frame_type::response).empty());
}

TEST_CASE("requests and cancels without end are refused when as many wait for their handlers as may") {
  bench end;
  end.limits.operations_max = 2;
  const auto body = read_of_one_byte();
  for (std::uint64_t i = 0; i < 10; ++i) {
    end.hear({.type = frame_type::request, .transfer = theirs + i}, body);
    end.hear({.type = frame_type::cancel, .transfer = theirs + i});
  }
  CHECK(end.outstanding() == 4);
  const auto told = end.messages.of(frame_type::response);
  REQUIRE(told.size() == 6);
  CHECK(told[0].code == static_cast<std::uint32_t>(errc::limit_exceeded));
}

TEST_CASE("more requests at once than this end takes are refused, and nothing worse") {
  bench end;
  end.limits.operations_max = 1;
  const auto body = read_of_one_byte();
  // One batch: nothing can be acknowledged in between.
  for (std::uint64_t i = 0; i < 5000; ++i) {
    end.engine_.frame_arrived(lane::standard,
                              {.type = frame_type::request,
                               .flags = wire::flag_body_crc,
                               .body_length = static_cast<std::uint32_t>(body.size()),
                               .body_crc = crc32c(body),
                               .epoch = end.messages.epoch_,
                               .number = ++end.heard,
                               .transfer = theirs + i},
                              body);
  }
  CHECK_FALSE(end.broken.has_value());
}

TEST_CASE("memory that goes back while a link ends may have others answered") {
  bench end;
  const auto body = read_of_one_byte();
  for (std::uint64_t i = 0; i < 100; ++i) end.hear({.type = frame_type::request, .transfer = theirs + i}, body);
  // Two hold memory, the first and the last: whatever order they end in, one goes before most of those that wait.
  for (const auto holder : {theirs, theirs + 99}) {
    auto pieces = end.pieces(1);
    pieces.keep(std::shared_ptr<void>(&end, [&end](void*) {
      for (std::uint64_t i = 1; i < 99; ++i) end.engine_.respond(theirs + i, errc::peer_closed, "the server ends", {});
    }));
    end.engine_.supply_read(holder, std::move(pieces), {}, std::make_unique<nobody>());
  }
  end.settle();
  end.engine_.channel_down(lane::bulk);
  end.engine_.channel_down(lane::standard);
  end.engine_.fail_all(error(errc::closed));
  CHECK(end.outstanding() == 0);
}

TEST_CASE("a request under an id that is in use, or that only this end may give, ends the link") {
  bench end;
  end.hear_request(wire::operation_kind::write, 65536);
  CHECK_FALSE(end.broken);
  SUBCASE("the id of one under way") {
    end.hear_request(wire::operation_kind::write, 65536);
  }
  SUBCASE("an id of this end's") {
    std::vector<std::byte> body;
    wire::encode(wire::request{.kind = wire::operation_kind::request, .carries = lane::bulk, .slice_size = 65536},
                 body);
    end.hear({.type = frame_type::request, .transfer = 1}, body);
  }
  REQUIRE(end.broken);
  CHECK(*end.broken == "request under an id that is not free");
}
