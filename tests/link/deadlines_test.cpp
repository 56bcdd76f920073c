// A deadline that a caller gave orders the transfers of a lane.
#include "../lane/source.hpp"
#include "bench.hpp"

using namespace weft;
using namespace weft::links;

namespace {

constexpr std::uint64_t slice = 64 * 1024;

/// Two slices long.
operation_id started_write(bench& end, duration timeout, bool by_deadline) {
  operation_request asked;
  asked.kind = wire::operation_kind::write;
  asked.carries = lane::bulk;
  asked.pieces = end.pieces(2 * slice);
  asked.deadline = end.now + timeout;
  asked.by_deadline = by_deadline;
  struct ignored final : completion {
    void complete(outcome&&) override {}
  };
  const auto id = end.engine_.start(std::move(asked), std::make_unique<ignored>());
  end.settle();
  return id;
}

operation_id granted_write(bench& end, duration timeout, bool by_deadline) {
  const auto id = started_write(end, timeout, by_deadline);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  return id;
}

void hear_read(bench& end, operation_id id, duration left, bool by_deadline) {
  std::vector<std::byte> body;
  wire::encode(wire::request{.kind = wire::operation_kind::read,
                             .carries = lane::bulk,
                             .slice_size = slice,
                             .length = slice,
                             .window = 1 << 20,
                             .time_left_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(left).count())},
               body);
  end.hear({.type = frame_type::request, .transfer = id, .argument = by_deadline ? 1U : 0U}, body);
}

/// The transfers whose slices left, in their order, as room is made for one after the other.
std::vector<std::uint64_t> order_of(bench& end) {
  std::vector<std::uint64_t> order;
  for (std::uint64_t told = 0; told < end.data.parts.size(); ++told) {
    end.engine_.landed(lane::bulk, told + 1);
    end.settle();
  }
  for (const auto& each : end.data.slices) order.push_back(each.transfer);
  return order;
}

} // namespace

TEST_CASE("the transfer with the earliest deadline goes first, and one without gives way") {
  bench end(slice);
  const auto first = granted_write(end, 1h, false); // its first slice is all that may be under way
  const auto plain = granted_write(end, 1s, false); // the deadline of any transfer: it orders nothing
  const auto late = granted_write(end, 2h, true);
  const auto soon = granted_write(end, 1h, true);
  const auto order = order_of(end);
  REQUIRE(order.size() == 8);
  CHECK(order[0] == first);
  CHECK(order[1] == soon);
  CHECK(order[2] == soon);
  CHECK(order[3] == late);
  CHECK(order[4] == late);
  CHECK(std::count(order.begin(), order.end(), plain) == 2);
}

TEST_CASE("a peer hears that a deadline orders, and reads of one by theirs") {
  bench end(slice);
  granted_write(end, 1h, false);
  granted_write(end, 1h, true);
  const auto asked = end.messages.of(frame_type::request);
  REQUIRE(asked.size() == 2);
  CHECK(asked[0].argument == 0);
  CHECK(asked[1].argument == 1);

  bench other(slice);
  const auto read = [&other](operation_id id, duration left, bool by_deadline) {
    hear_read(other, id, left, by_deadline);
    other.engine_.supply_read(id, other.pieces(slice), {}, other.owner());
    other.settle();
  };
  read(theirs, 1h, false);
  read(theirs + 2, 1s, false);
  read(theirs + 4, 2h, true);
  read(theirs + 6, 1h, true);
  CHECK(order_of(other) == std::vector<std::uint64_t>{theirs, theirs + 6, theirs + 4, theirs + 2});
}

TEST_CASE("what this end wants soon goes before other links' transfers, what a peer wants does not") {
  bench end(slice); // four quanta
  lanes::source other(2 * slice / 4, slice / 4);
  SUBCASE("a write of its own") {
    const auto id = started_write(end, 1h, true);
    end.rail.ready(lane::bulk, other);
    end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
    CHECK(other.sent == 0);
  }
  SUBCASE("a read of the peer") {
    hear_read(end, theirs, 1h, true);
    end.rail.ready(lane::bulk, other);
    end.engine_.supply_read(theirs, end.pieces(slice), {}, end.owner());
    end.settle();
    CHECK(other.sent == other.size * 2);
  }
  CHECK(end.data.parts.size() == 4);
  end.rail.remove(lane::bulk, other);
}
