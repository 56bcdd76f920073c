// A lane over several channels at once.
#include "bench.hpp"

#include <set>

using namespace weft;
using namespace weft::links;

namespace {

constexpr wire::place second{lane::bulk, 1};

/// Two channels for bulk slices.
struct two : bench {
  explicit two(bool one_sided = false) {
    limits.lane_bulk_channels = 2;
    other.epoch_ = 7;
    data.one_sided = other.one_sided = one_sided;
    if (one_sided) {
      engine_.channel_down(lane::bulk);
      data.epoch_ = 2;
      engine_.channel_up(lane::bulk, data, rail);
    }
    engine_.channel_up(second, other, rail);
    settle();
  }

  /// The peer takes slices on the channel of this place.
  void hear_up(wire::place at, std::uint32_t epoch) {
    hear({.type = frame_type::channel_fenced, .index = at.index(), .argument = epoch, .code = epoch - 1});
  }
  operation_id supply(std::uint64_t length) {
    hear_request(wire::operation_kind::read, length);
    engine_.supply_read(theirs, pieces(length), {}, owner());
    settle();
    return theirs;
  }
  [[nodiscard]] static std::set<std::uint32_t> indices(const fake_channel& of) {
    std::set<std::uint32_t> found;
    for (const auto& each : of.slices) found.insert(each.index);
    return found;
  }

  fake_channel other;
};

} // namespace

TEST_CASE("the slices of a transfer are spread over the channels of their lane, each goes once") {
  two end;
  end.supply(8 * 65536);
  CHECK(end.data.slices.size() == 4);
  CHECK(end.other.slices.size() == 4);
  auto all = two::indices(end.data);
  all.merge(two::indices(end.other));
  CHECK(all.size() == 8);
  CHECK(end.other.slices[0].epoch == 7);
}

TEST_CASE("channels on two rails: each takes what the budget of its own rail has room for") {
  lanes::host_board other_board;
  lanes::scheduler other_rail(lanes::by_weight({1, 1, 1, 1}), other_board, 4 * 65536);
  fake_channel other;
  bench end(2 * 65536);
  end.limits.lane_bulk_channels = 2;
  end.engine_.channel_up(second, other, other_rail);
  const auto settle = [&] {
    end.settle();
    other_rail.advance(end.now);
    other_rail.run(1 << 30);
  };
  end.hear_request(wire::operation_kind::read, 16 * 65536);
  end.engine_.supply_read(theirs, end.pieces(16 * 65536), {}, end.owner());
  const auto bytes_of = [](const fake_channel& of) {
    std::uint64_t sum = 0;
    for (const auto& each : of.parts) sum += each.part.length;
    return sum;
  };
  settle();
  CHECK(bytes_of(end.data) == 2 * 65536);
  CHECK(bytes_of(other) == 4 * 65536);
  CHECK(end.rail.under_way().state().bytes == 2 * 65536);
  CHECK(other_rail.under_way().state().bytes == 4 * 65536);
  // What lands makes room on its own rail only.
  end.engine_.landed(second, 2);
  settle();
  CHECK(bytes_of(end.data) == 2 * 65536);
  CHECK(bytes_of(other) > 4 * 65536);
  // One rail less: what the other has goes on.
  end.engine_.channel_down(lane::bulk);
  CHECK(end.rail.under_way().state().bytes == 0);
  end.engine_.landed(second, 1000); // of more than there are: a peer that lies
  CHECK(end.broken);
}

TEST_CASE("the channel whose slices are verified gets more of them") {
  two end;
  end.memory.resize(32 * 65536); // twice the window
  end.supply(32 * 65536);
  REQUIRE(end.data.slices.size() == 8);
  std::vector<wire::slice_range> fast;
  for (const auto& each : end.other.slices) fast.push_back({each.index, 1, false});
  end.hear_progress(theirs, fast);
  CHECK(end.other.slices.size() == 16);
  CHECK(end.data.slices.size() == 8);
}

TEST_CASE("a lane asks for all its channels, and again for the one that was lost") {
  two end;
  const auto opens = end.opens;
  end.engine_.channel_down(second);
  end.supply(65536);
  CHECK(end.opens == opens + 1);
  end.engine_.channel_down(lane::bulk);
  CHECK(end.opens == opens + 2);
}

TEST_CASE("what a lost channel carried goes again once the peer has fenced it, the rest stays where it is") {
  two end;
  end.supply(8 * 65536);
  const auto lost = two::indices(end.other);
  end.hear_progress(theirs, {{*lost.begin(), 1, false}});
  end.engine_.channel_down(second);
  end.settle();
  CHECK(end.data.slices.size() == 4); // the peer may still get them over the old one
  end.hear({.type = frame_type::channel_fenced, .index = second.index(), .code = 7});
  CHECK(end.data.slices.size() == 7);
  const auto sent = two::indices(end.data);
  for (const auto index : lost) CHECK(sent.contains(index) == (index != *lost.begin()));
  CHECK(end.engine_.counters().slices_resent == 3);
}

TEST_CASE("what a lost channel carried goes again also when the peer had fenced it first") {
  two end;
  end.supply(8 * 65536);
  end.hear({.type = frame_type::channel_fenced, .index = second.index(), .code = 7});
  CHECK(end.closed == std::vector<wire::place>{second});
  CHECK(end.data.slices.size() == 4); // the channel still reads
  end.engine_.channel_down(second);
  end.settle();
  CHECK(two::indices(end.data).size() == 8);
}

TEST_CASE("a successor that has carried nothing does not hold up what its predecessor carried") {
  two end;
  end.supply(8 * 65536);
  end.engine_.channel_down(second);
  end.other.epoch_ = 8;
  end.engine_.channel_up(second, end.other, end.rail);
  end.engine_.channel_down(second);
  end.settle();
  CHECK(end.data.slices.size() == 4);
  end.hear({.type = frame_type::channel_fenced, .index = second.index(), .code = 7});
  CHECK(two::indices(end.data).size() == 8);
}

TEST_CASE("a peer that verifies what it refused loses nothing but its own order") {
  two end;
  end.memory.resize(32 * 65536);
  end.supply(32 * 65536); // twice the window
  const auto index = end.other.slices[0].index;
  end.engine_.channel_down(lane::bulk); // so that nothing goes again at once
  end.engine_.channel_down(second);
  end.hear_progress(theirs, {{index, 1, true}});
  end.hear_progress(theirs, {{index, 1, false}});
  end.hear({.type = frame_type::channel_fenced, .index = second.index(), .code = 7});
  end.hear({.type = frame_type::channel_fenced, .index = wire::place(lane::bulk).index(), .code = 1});
  end.other.slices.clear();
  end.other.epoch_ = 8;
  end.engine_.channel_up(second, end.other, end.rail);
  end.settle();
  CHECK(end.other.slices.size() == 16); // the window, and no more
}

TEST_CASE("a one-sided channel carries nothing before the peer has said that it knows it") {
  two end(true);
  end.supply(4 * 65536);
  CHECK(end.data.slices.empty());
  end.hear_up(second, 6); // an older one
  CHECK(end.other.slices.empty());
  end.hear_up(second, 7);
  CHECK(end.other.slices.size() == 4);
  CHECK(end.data.slices.empty());
}

TEST_CASE("an engine says of each one-sided channel that it knows it, behind what it stopped before") {
  two end(true);
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.engine_.channel_down(second);
  end.settle();
  end.engine_.cancel(id);
  end.other.epoch_ = 8;
  end.engine_.channel_up(second, end.other, end.rail);
  end.settle();
  const auto& said = end.messages.messages;
  const auto is_up = [](const wire::frame_header& one) {
    return one.type == frame_type::channel_fenced && one.index == second.index() && one.argument == 8;
  };
  const auto up = std::find_if(said.begin(), said.end(), is_up);
  const auto cancel =
      std::find_if(said.begin(), said.end(), [](const auto& one) { return one.type == frame_type::cancel; });
  REQUIRE(up != said.end());
  CHECK(cancel < up);
  SUBCASE("so that its fence does not wait for that channel") {
    end.engine_.frame_arrived(lane::bulk, {.type = frame_type::marker, .epoch = 2, .transfer = id, .argument = 3}, {});
    end.settle();
    CHECK(end.result.value().code == errc::cancelled);
  }
}

TEST_CASE("a cancelled read waits for the markers of those channels that carried some of it, and of no other") {
  two end(true);
  const auto id = end.begin(wire::operation_kind::read, 4 * 65536);
  end.engine_.cancel(id);
  end.settle();
  const auto marker = [&](wire::place at, std::uint32_t epoch, std::uint64_t carried_by) {
    end.engine_.frame_arrived(at, {.type = frame_type::marker, .epoch = epoch, .transfer = id, .argument = carried_by},
                              {});
    end.settle();
  };
  SUBCASE("both") {
    marker(lane::bulk, 2, 3);
    CHECK_FALSE(end.result.has_value());
    marker(second, 7, 3);
  }
  SUBCASE("the one that did not bring the first marker") {
    marker(lane::bulk, 2, 2);
    CHECK_FALSE(end.result.has_value());
    marker(second, 7, 2);
  }
  SUBCASE("none") {
    marker(second, 7, 0);
  }
  SUBCASE("one that is lost instead") {
    marker(lane::bulk, 2, 3);
    end.engine_.channel_down(second);
    end.settle();
  }
  SUBCASE("one whose marker does not come: it alone is closed") {
    marker(lane::bulk, 2, 3);
    end.advance(end.limits.fence_timeout);
    CHECK(end.closed == std::vector<wire::place>{second});
    CHECK_FALSE(end.result.has_value());
    end.engine_.channel_down(second);
    end.settle();
  }
  CHECK(end.result.value().code == errc::cancelled);
}

TEST_CASE("a sender that stops says on every channel which of them carried slices") {
  two end(true);
  end.hear_up(second, 7);
  end.supply(2 * 65536);
  REQUIRE(end.other.slices.size() == 2);
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  CHECK(end.data.of(frame_type::marker).empty()); // the channel still reads
  end.engine_.sent(second, theirs);
  end.engine_.sent(second, theirs);
  end.settle();
  REQUIRE(end.data.of(frame_type::marker).size() == 1);
  REQUIRE(end.other.of(frame_type::marker).size() == 1);
  CHECK(end.data.of(frame_type::marker)[0].argument == 2);
  CHECK(end.result.value().code == errc::cancelled);
}

TEST_CASE("a sender names a lost channel until the peer has fenced it") {
  two end(true);
  end.hear_up(second, 7);
  end.supply(2 * 65536);
  REQUIRE(end.other.slices.size() == 2);
  end.engine_.channel_down(second);
  bool fenced = false;
  SUBCASE("which it has not") {}
  SUBCASE("which it has") {
    fenced = true;
  }
  if (fenced) end.hear({.type = frame_type::channel_fenced, .index = second.index(), .code = 7});
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  REQUIRE(end.data.of(frame_type::marker).size() == 1);
  CHECK(end.data.of(frame_type::marker)[0].argument == (fenced ? 0 : 2));
}

TEST_CASE("a sender that is stopped twice has said what it used once") {
  two end(true);
  end.hear_up(second, 7);
  end.supply(2 * 65536);
  end.engine_.sent(second, theirs);
  end.engine_.sent(second, theirs);
  end.engine_.respond(theirs, errc::os_failure, "disk", {});
  end.settle();
  end.hear({.type = frame_type::cancel, .transfer = theirs});
  REQUIRE(end.data.of(frame_type::marker).size() == 1);
  CHECK(end.data.of(frame_type::marker)[0].argument == 2);
}

TEST_CASE("a fence does not wait for a successor of a channel that the sender has named") {
  two end(true);
  const auto id = end.begin(wire::operation_kind::read, 4 * 65536);
  end.engine_.frame_arrived(lane::bulk, {.type = frame_type::marker, .epoch = 2, .transfer = id, .argument = 3}, {});
  end.engine_.channel_down(second); // before this end stops
  end.other.epoch_ = 8;
  end.engine_.channel_up(second, end.other, end.rail);
  end.settle();
  end.engine_.cancel(id);
  end.settle();
  CHECK(end.result.value().code == errc::cancelled);
}

TEST_CASE("whoever writes hears at once that the receiver gives the write up") {
  two end(true);
  end.hear_request(wire::operation_kind::write, 4 * 65536);
  end.engine_.accept_write(theirs, end.pieces(4 * 65536), end.owner());
  end.settle();
  end.advance(end.limits.stall_default);
  const auto told = end.messages.of(frame_type::response);
  REQUIRE(told.size() == 1);
  CHECK(told[0].code == static_cast<std::uint32_t>(errc::peer_unresponsive));
  CHECK_FALSE(end.result.has_value()); // its markers are awaited
  end.engine_.frame_arrived(lane::bulk, {.type = frame_type::marker, .epoch = 2, .transfer = theirs}, {});
  end.settle();
  CHECK(end.result.value().code == errc::peer_unresponsive);
  end.engine_.respond(theirs, errc::os_failure, "late", {});
  CHECK(end.messages.of(frame_type::response).size() == 1);
  CHECK(end.outstanding() == 0);
}
