// Messages of an engine: when they leave, how many may wait, and what of a peer's words reaches whom.
#include "bench.hpp"

using namespace weft;
using namespace weft::links;

TEST_CASE("what is begun and cancelled while nothing gets through does not pile up without end") {
  bench end;
  end.limits.operations_max = 100;
  const auto most = end.limits.operations_max + end.limits.message_window;
  end.messages.full = true;
  const auto request = [&](bool waits, std::optional<outcome>& into) {
    operation_request asked;
    asked.kind = wire::operation_kind::request;
    asked.wait_when_full = waits;
    const auto id = end.engine_.start(std::move(asked), std::make_unique<slot>(into));
    end.settle();
    return id;
  };
  for (std::uint32_t i = 0; i < 2 * most; ++i) {
    std::optional<outcome> ended;
    end.engine_.cancel(request(true, ended));
    end.settle();
    CHECK(ended.value().code == errc::cancelled);
  }
  std::optional<outcome> refused;
  request(false, refused);
  CHECK(refused.value().code == errc::queue_full);
  std::optional<outcome> waiting;
  request(true, waiting);
  end.messages.full = false;
  end.settle();
  CHECK(end.messages.messages.size() == end.limits.message_window);
  while (end.messages.messages.size() <= most) {
    const auto sent = end.messages.messages.size();
    end.hear({.type = frame_type::acknowledge, .received = static_cast<std::uint32_t>(sent)});
    if (end.messages.messages.size() == sent) break;
  }
  CHECK(end.messages.messages.size() == most + 1);
  CHECK(end.messages.messages.back().type == frame_type::request);
  CHECK_FALSE(end.broken.has_value());
  CHECK_FALSE(waiting.has_value());
}

TEST_CASE("the first realtime message of a batch leaves at once, the others together at its end") {
  bench end;
  constexpr lane urgent[] = {lane::realtime};
  engine realtime(end, end.limits, urgent, true);
  realtime.advance(end.now);
  fake_channel over;
  realtime.channel_up(lane::realtime, over, end.rail);
  realtime.flush();
  std::optional<outcome> first, second;
  const auto request = [&](std::optional<outcome>& into) {
    operation_request asked;
    asked.kind = wire::operation_kind::request;
    asked.carries = lane::realtime;
    realtime.start(std::move(asked), std::make_unique<slot>(into));
  };
  const auto flushes = over.flushes;
  request(first);
  CHECK(over.of(frame_type::request).size() == 1);
  CHECK(over.flushes == flushes + 1);
  request(second);
  CHECK(over.of(frame_type::request).size() == 1);
  realtime.flush();
  CHECK(over.of(frame_type::request).size() == 2);
  realtime.channel_down(lane::realtime);
  realtime.fail_all(error(errc::closed));
}

TEST_CASE("the smallest window of a peer is acknowledged before it is full") {
  bench end;
  for (int i = 0; i < 15; ++i) end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK(end.messages.messages.back().type == frame_type::acknowledge);
  CHECK(end.messages.messages.back().received >= 8);
}

TEST_CASE("a peer's code that is none of the list reaches nobody") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 65536);
  end.hear({.type = frame_type::response, .transfer = id, .code = 12345}, std::vector<std::byte>(2));
  REQUIRE(end.result.has_value());
  CHECK(end.result->code == errc::handler_failed);
}

TEST_CASE("a response cut off within what it says of its error breaks the protocol") {
  std::vector<std::byte> whole;
  wire::writer(whole).text("disk");
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    bench end;
    const auto id = end.begin(wire::operation_kind::write, 65536);
    end.hear({.type = frame_type::response, .transfer = id, .code = static_cast<std::uint32_t>(errc::io_error)},
             {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    CHECK(end.broken.has_value() == (length < whole.size()));
    CHECK(end.result.has_value() == (length == whole.size()));
  }
}

TEST_CASE("what a peer says of an error reaches no terminal that would obey it") {
  bench end;
  const auto id = end.begin(wire::operation_kind::write, 65536);
  std::vector<std::byte> body;
  wire::writer(body).text("disk\x1b[2J\n\xc3\xa9\xc2\x9b\xc2\xa0");
  end.hear({.type = frame_type::response, .transfer = id, .code = static_cast<std::uint32_t>(errc::io_error)}, body);
  CHECK(end.result.value().where == "disk?[2J?\xc3\xa9??\xc2\xa0");
}

TEST_CASE("a handler hears why the peer gave its operation up") {
  bench end;
  end.hear_request(wire::operation_kind::write, 65536);
  end.engine_.accept_write(theirs, end.pieces(65536), end.owner());
  end.settle();
  end.hear(
      {.type = frame_type::cancel, .transfer = theirs, .code = static_cast<std::uint32_t>(errc::deadline_exceeded)});
  CHECK(end.result.value().code == errc::cancelled);
  CHECK(end.result->where == "the peer gave it up: deadline_exceeded");
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
  CHECK(end.closed == std::vector<wire::place>{lane::standard});
  end.heard = 1;
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK_FALSE(end.broken.has_value());
  CHECK(end.closed.size() == 1);
  end.engine_.channel_down(lane::standard);
  end.messages.epoch_ = 2;
  end.engine_.channel_up(lane::standard, end.messages, end.rail);
  end.heard = 0;
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK_FALSE(end.broken.has_value());
}

TEST_CASE("slices acknowledge messages too") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  end.hear_slice(id, 0, false, 1);
  CHECK_FALSE(end.broken.has_value());
  end.hear_slice(id, 1, false, 99);
  CHECK(end.broken.value() == "acknowledgement of messages that were never sent");
}
