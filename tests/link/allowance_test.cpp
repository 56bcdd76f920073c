// A receiver says how much its sender may have under way to each of its rails, over all lanes and channels there.
#include "bench.hpp"

using namespace weft;
using namespace weft::links;

namespace {

constexpr std::uint32_t slice = 64 * 1024;
constexpr std::uint32_t grains = 4; ///< that are allowed
constexpr std::uint64_t allowed = grains * lanes::budget::grain;

operation_id limited_write(bench& end) {
  const auto id = end.begin(wire::operation_kind::write, 2 * slice);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20, .code = grains});
  return id;
}

} // namespace

TEST_CASE("a sender has no more under way than its receiver allows, and asks about all of it") {
  bench end(0);
  limited_write(end);
  REQUIRE(end.data.parts.size() == 1);
  CHECK(end.data.parts[0].part.length == allowed);
  CHECK((end.data.parts[0].header.flags & wire::flag_tell) != 0);
  end.engine_.landed(lane::bulk, 1);
  end.settle();
  REQUIRE(end.data.parts.size() == 2);
  CHECK(end.data.parts[1].part.from == allowed);
}

TEST_CASE("more that is allowed goes at once, and as much as it likes when nothing is said") {
  bench end(0);
  const auto id = limited_write(end);
  SUBCASE("twice as much") {
    end.hear({.type = frame_type::progress, .transfer = id, .code = 2 * grains});
    REQUIRE(end.data.parts.size() == 2);
    CHECK(end.data.parts[1].part.length == allowed);
  }
  SUBCASE("no limit") {
    end.hear({.type = frame_type::progress, .transfer = id});
    CHECK(end.data.slices.size() == 2);
    CHECK(end.data.parts.back().part.end() == slice);
  }
  SUBCASE("an old word counts no more") {
    end.advance(2s);
    end.engine_.landed(lane::bulk, 1);
    end.settle();
    CHECK(end.data.slices.size() == 2);
  }
}

namespace {

/// Beside a limited write: a read of the peer's that is to go over the other channel.
void supply_standard_read(bench& end) {
  std::vector<std::byte> body;
  wire::encode(wire::request{.kind = wire::operation_kind::read,
                             .carries = lane::standard,
                             .slice_size = slice,
                             .length = slice,
                             .window = 1 << 20},
               body);
  end.hear({.type = frame_type::request, .transfer = theirs, .code = grains}, body);
  end.engine_.supply_read(theirs, end.pieces(slice), {}, end.owner());
  end.settle();
}

} // namespace

TEST_CASE("what a lost channel had under way leaves room for the others") {
  bench end(0);
  limited_write(end);
  supply_standard_read(end);
  CHECK(end.messages.parts.empty());
  end.engine_.channel_down(lane::bulk);
  end.settle();
  CHECK(end.messages.parts.size() == 1);
}

TEST_CASE("what is allowed to one rail holds nothing up that comes by another") {
  bench end(0);
  limited_write(end);
  constexpr auto other = wire::place(lane::standard).index();
  const auto word = [&end](std::uint32_t about, std::uint64_t rail, std::uint32_t code) {
    end.hear({.type = frame_type::progress, .index = about, .transfer = 99, .offset = rail, .code = code});
  };
  SUBCASE("that has no limit") {
    word(other, 1, 0);
    supply_standard_read(end);
    CHECK(end.messages.slices.size() == 1);
    CHECK(end.messages.parts.back().part.end() == slice);
  }
  SUBCASE("that has one of its own, which it may fill") {
    word(other, 1, 2 * grains);
    supply_standard_read(end);
    REQUIRE(end.messages.parts.size() == 1);
    CHECK(end.messages.parts[0].part.length == 2 * allowed);
  }
  SUBCASE("and the same rail is one for all that come by it") {
    word(other, 0, grains);
    supply_standard_read(end);
    CHECK(end.messages.parts.empty());
    // What was under way goes along with the channel that it went over.
    word(wire::place(lane::bulk).index(), 1, grains);
    CHECK(end.messages.parts.size() == 1);
    CHECK(end.data.parts.size() == 1);
  }
  CHECK_FALSE(end.broken);
}

TEST_CASE("the first word about a rail is about all channels") {
  bench end(0);
  const auto id = end.begin(wire::operation_kind::write, 2 * slice);
  constexpr auto other = wire::place(lane::standard).index();
  end.hear(
      {.type = frame_type::grant, .index = other, .transfer = id, .offset = 3, .argument = 1 << 20, .code = grains});
  REQUIRE(end.data.parts.size() == 1);
  CHECK(end.data.parts[0].part.length == allowed);
}

TEST_CASE("a word that does not get out is said the next time") {
  bench end;
  end.hear_request(wire::operation_kind::write, 4 * slice);
  end.engine_.accept_write(theirs, end.pieces(4 * slice), end.owner());
  end.settle();
  std::fill(end.memory.begin(), end.memory.end(), std::byte{1});
  const auto about_next = [&end](std::uint32_t index) {
    end.hear_slice(theirs, index, false);
    end.advance(10ms);
    return end.messages.of(frame_type::progress).back().index;
  };
  const auto first = about_next(0);
  end.messages.full = true;
  end.hear_slice(theirs, 1, false);
  end.advance(10ms);
  end.messages.full = false;
  end.engine_.writable(lane::standard);
  end.settle();
  CHECK(end.messages.of(frame_type::progress).back().index != first);
  CHECK(about_next(2) == first); // there are two channels
}

TEST_CASE("a word about a rail or a channel that is none breaks the link") {
  bench end(0);
  wire::frame_header word{.type = frame_type::progress, .transfer = 99, .code = grains};
  SUBCASE("rail") {
    word.offset = wire::most_rails;
  }
  SUBCASE("channel") {
    word.index = wire::place_count;
  }
  SUBCASE("rail of a request, which is not begun") {
    word = {.type = frame_type::request, .transfer = theirs, .offset = wire::most_rails};
  }
  std::vector<std::byte> body;
  if (word.type == frame_type::request) wire::encode(wire::request{.carries = lane::bulk}, body);
  end.hear(word, body);
  REQUIRE(end.broken);
  CHECK(*end.broken == "what may be under way to a rail that is none");
  CHECK(end.arrived == 0);
}

TEST_CASE("a channel that does not get on holds the others up for a while only") {
  bench end(0);
  limited_write(end);
  supply_standard_read(end);
  for (int i = 0; i < 12; ++i) {
    end.hear({.type = frame_type::progress, .transfer = 99, .code = grains}); // it is still in force
    CHECK(end.engine_.next_due() <= end.now + lanes::budget::patience);
    end.advance(10ms);
  }
  CHECK(end.messages.parts.size() == 1);
}

TEST_CASE("beside realtime traffic here a receiver says what it allows, soon, and nothing otherwise") {
  bench end;
  bool crowded = false;
  SUBCASE("with some") {
    crowded = true;
  }
  SUBCASE("without") {
    crowded = false;
  }
  end.hear_request(wire::operation_kind::write, 16 * slice);
  end.engine_.accept_write(theirs, end.pieces(16 * slice), end.owner());
  end.settle();
  std::fill(end.memory.begin(), end.memory.end(), std::byte{1});
  end.board.arriving({0, 1}, {}, end.now); // another thread of this fabric has a sender too
  for (std::uint32_t i = 0; i < 14; ++i) {
    if (crowded) end.board.seen(end.now);
    end.hear_slice(theirs, i, false);
    end.advance(150ms); // an interval: three of them tell the rate
  }
  const auto told = end.messages.of(frame_type::progress);
  REQUIRE(!told.empty());
  CHECK((told.back().code > 0) == crowded);
}

TEST_CASE("a receiver limits what comes by the rail that has realtime traffic, and not by its others") {
  std::optional<lanes::host_board> board; // outlive the engine
  std::optional<lanes::scheduler> rail;
  bench end;
  auto& crowded_board = board.emplace(end.board, 1);
  rail.emplace(lanes::by_weight({1, 1, 1, 1}), crowded_board, lanes::scheduler::no_budget);
  fake_channel second;
  constexpr wire::place second_place(lane::bulk, 1);
  end.engine_.channel_up(second_place, second, *rail);
  end.hear_request(wire::operation_kind::write, 16 * slice);
  end.engine_.accept_write(theirs, end.pieces(16 * slice), end.owner());
  end.settle();
  std::fill(end.memory.begin(), end.memory.end(), std::byte{1});
  end.board.arriving({0, 1}, {}, end.now); // to both, by other threads
  crowded_board.arriving({0, 1}, {}, end.now);
  for (std::uint32_t i = 0; i < 14; ++i) {
    crowded_board.seen(end.now);
    end.hear_slice(theirs, i, false, 0, i % 7 == 0 ? wire::place(lane::bulk) : second_place);
    end.advance(150ms); // an interval
  }
  std::uint32_t about_crowded = 0;
  for (const auto& word : end.messages.of(frame_type::progress)) {
    CHECK(word.offset == (word.index == second_place.index() ? 1 : 0));
    if (word.offset == 0) CHECK(word.code == 0);
    if (word.offset == 1 && word.code > 0) ++about_crowded;
  }
  CHECK(about_crowded > 0);
  end.engine_.channel_down(second_place);
  end.settle();
}
