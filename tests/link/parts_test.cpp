// A slice that leaves and arrives in parts, as the budget lets it.
#include "bench.hpp"

using namespace weft;
using namespace weft::links;

namespace {

constexpr std::uint64_t quarter = 16 * 1024; ///< of a slice, and of the budget

/// A write of so many bytes that the peer has granted.
operation_id granted_write(bench& end, std::uint64_t length) {
  const auto id = end.begin(wire::operation_kind::write, length);
  end.hear({.type = frame_type::grant, .transfer = id, .argument = 1 << 20});
  return id;
}

} // namespace

TEST_CASE("a slice leaves in parts of a quantum, and goes on as they land") {
  bench end(4 * quarter);
  std::fill(end.memory.begin(), end.memory.end(), std::byte{7});
  granted_write(end, 2 * 65536);
  REQUIRE(end.data.parts.size() == 4);
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto& [header, part] = end.data.parts[i];
    CHECK(header.index == 0);
    CHECK(header.body_length == 65536);
    CHECK(part.from == i * quarter);
    CHECK(part.length == quarter);
    CHECK((header.flags & wire::flag_tell) != 0);
  }
  CHECK(end.data.parts[3].header.body_crc == crc32c(std::span(end.memory).first(65536)));
  end.advance(1ms);
  CHECK(end.data.parts.size() == 4);
  end.engine_.landed(lane::bulk, 2);
  end.settle();
  REQUIRE(end.data.parts.size() == 6);
  CHECK(end.data.parts[5].header.index == 1);
  CHECK(end.data.parts[5].part.from == quarter);
  CHECK(end.engine_.counters().lanes[2].slices_sent == 2);
  CHECK(end.engine_.counters().lanes[2].bytes_sent == 6 * quarter);
}

TEST_CASE("word of parts that were never sent breaks the link, repeated word changes nothing") {
  bench end(4 * quarter);
  granted_write(end, 2 * 65536);
  end.engine_.landed(lane::bulk, 1);
  end.settle();
  end.engine_.landed(lane::bulk, 1);
  end.settle();
  CHECK(end.data.parts.size() == 5);
  CHECK_FALSE(end.broken.has_value());
  end.engine_.landed(lane::bulk, 6);
  CHECK(end.broken.value() == "word of slices that were never sent");
}

TEST_CASE("of a slice whose transfer was stopped no part follows") {
  bench end(4 * quarter);
  const auto id = granted_write(end, 65536 + 2 * quarter);
  const auto other = granted_write(end, 65536);
  end.engine_.landed(lane::bulk, 1);
  end.settle();
  REQUIRE(end.data.parts.size() == 5); // the first of the second slice
  end.engine_.cancel(id);
  end.engine_.landed(lane::bulk, 5);
  end.settle();
  REQUIRE(end.data.parts.size() == 9);
  for (std::size_t i = 5; i < 9; ++i) CHECK(end.data.parts[i].header.transfer == other);
}

TEST_CASE("parts that were on a lost channel go again from the beginning of their slice") {
  bench end(4 * quarter);
  granted_write(end, 2 * 65536);
  end.engine_.landed(lane::bulk, 2);
  end.settle();
  REQUIRE(end.data.parts.size() == 6);
  end.engine_.channel_down(lane::bulk);
  fake_channel next;
  next.epoch_ = 2;
  end.engine_.channel_up(lane::bulk, next, end.rail);
  end.settle();
  CHECK(next.parts.empty()); // until the peer has fenced the lost one
  end.hear({.type = frame_type::channel_fenced, .index = wire::place(lane::bulk).index(), .code = 1});
  REQUIRE(next.parts.size() == 4);
  CHECK(next.parts[0].part.from == 0);
  CHECK(next.parts[3].part.from == 3 * quarter);
}

TEST_CASE("a slice that is refused while parts of it are still to come breaks the link") {
  bench end(quarter);
  const auto id = granted_write(end, 65536);
  end.hear_progress(id, {{0, 1, true}});
  CHECK(end.broken.value() == "refusal of slices that are not under way");
}

TEST_CASE("a refusal before anything was sent breaks the link") {
  bench end;
  end.engine_.channel_down(lane::bulk);
  const auto id = granted_write(end, 65536);
  end.hear_progress(id, {{0, 1, true}});
  CHECK(end.broken.value() == "refusal of slices that are not under way");
}

TEST_CASE("what arrives in parts counts when it is whole") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  end.hear_part(id, 0, {0, 20000});
  end.hear_part(id, 0, {20000, 1});
  CHECK(end.engine_.counters().slices_verified == 0);
  end.hear_part(id, 0, {20001, 65536 - 20001});
  CHECK(end.engine_.counters().slices_verified == 1);
  end.hear_part(id, 1, {0, 65536});
  REQUIRE(end.result.has_value());
  CHECK_FALSE(end.result->code);
  CHECK(end.result->bytes == 2 * 65536);
}

TEST_CASE("a part that does not follow the one before it breaks the link") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  end.hear_part(id, 0, {0, 20000});
  path::slice_part wrong;
  std::uint32_t index = 0;
  SUBCASE("behind a gap") {
    wrong = {20001, 100};
  }
  SUBCASE("with bytes of before") {
    wrong = {19999, 100};
  }
  SUBCASE("beyond the slice") {
    wrong = {20000, 65536 - 20000 + 1};
  }
  SUBCASE("of a slice that did not begin") {
    index = 1;
    wrong = {20000, 100};
  }
  end.hear_part(id, index, wrong);
  CHECK(end.broken.value() == "slice does not fit its transfer");
}

TEST_CASE("a slice that begins anew in the middle of its parts is taken from its beginning") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 65536);
  end.hear_part(id, 0, {0, 20000});
  end.hear_part(id, 0, {0, 65536});
  CHECK_FALSE(end.broken.has_value());
  CHECK_FALSE(end.result.value().code);
}

TEST_CASE("parts of a transfer that has ended are dropped, also in the middle of a slice") {
  bench end;
  const auto id = end.begin(wire::operation_kind::read, 2 * 65536);
  end.hear_part(id, 0, {0, 20000});
  CHECK(end.wanted);
  end.engine_.cancel(id);
  end.settle();
  end.hear_part(id, 0, {20000, 20000});
  CHECK_FALSE(end.wanted);
  CHECK_FALSE(end.broken.has_value());
}
