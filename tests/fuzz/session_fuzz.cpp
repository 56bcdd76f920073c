// A session that hears anything at any time: it ends at most once, and says nothing after its end.
#include "choices.hpp"

#include "link/session.hpp"

namespace weft::fuzz {
namespace {

struct recorder final : links::session_host {
  void dial_session() override { require(!over, "no dialling after the end"); }
  void drop_session() override {}
  void send(const wire::frame_header&, std::span<const std::byte>) override { require(!over, "silence after the end"); }
  void dial_channel(wire::place, std::uint32_t epoch) override {
    require(!over, "no channel after the end");
    dialled = epoch;
  }
  void drop_channel(wire::place, std::uint32_t) override {}
  void linked() override { require(++links == 1 && !over, "linked once"); }
  void probed(bool) override {}
  void ended(const error& why) override {
    require(!over && why.code() != errc{}, "one end, with a reason");
    over = true;
  }

  bool over = false;
  int links = 0;
  std::uint32_t dialled = 0;
};

constexpr id128 link_id{1, 2};
constexpr wire::frame_type types[] = {
    wire::frame_type::hello_answer, wire::frame_type::refusal,        wire::frame_type::ping,
    wire::frame_type::pong,         wire::frame_type::channel_wanted, wire::frame_type::channel_failed,
    wire::frame_type::goodbye,      wire::frame_type::request,        wire::frame_type::hello};

wire::hello hello_of(choices& in, std::uint32_t epoch) {
  return {.name = "peer", .incarnation = {in.below(2), 7}, .session = link_id, .session_epoch = epoch};
}

void frame(choices& in, links::session& control) {
  const auto type = types[in.below(std::size(types))];
  const wire::frame_header header{.type = type,
                                  .epoch = in.number<std::uint8_t>(),
                                  .index = in.number<std::uint8_t>() % 6U,
                                  .code = in.number<std::uint16_t>()};
  std::vector<std::byte> body;
  if (type == wire::frame_type::hello_answer && !in.one_in(4)) {
    wire::encode(hello_of(in, in.one_in(4) ? in.number<std::uint8_t>() : control.mine().session_epoch), body);
  } else {
    const auto raw = in.bytes(64);
    body.assign(raw.begin(), raw.end());
  }
  control.frame_arrived(header, body);
}

void event(choices& in, links::session& control, recorder& host, bool dials, time_point& now) {
  const auto on = static_cast<lane>(in.below(lane_count));
  switch (in.below(10)) {
    case 0: return control.want_channel(on);
    case 1: return control.channel_opened(on, host.dialled);
    case 2: return control.channel_lost(on, host.dialled);
    case 3: return control.disconnected(error(errc::path_failed));
    case 4:
      if (dials) return control.connected();
      std::ignore = control.resumed(hello_of(in, in.number<std::uint8_t>()));
      return;
    case 5: return control.probe();
    case 6:
      now += std::chrono::milliseconds(in.number<std::uint16_t>());
      control.advance(now);
      control.tick();
      require(host.over || control.next_due() > now, "what was due is done");
      return;
    default: return frame(in, control);
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const tunables limits;
  recorder host;
  auto now = time_point{} + std::chrono::hours(1);
  const bool dials = in.below(2) == 0;
  auto mine = wire::hello{.name = "here", .incarnation = {9, 9}, .session = link_id};
  auto control = dials ? links::session(host, limits, mine) : links::session(host, limits, mine, hello_of(in, 1));
  control.advance(now);
  control.start();
  while (in.any_left() && !host.over) {
    event(in, control, host, dials, now);
    if (!host.over) require(control.state() != links::session_state::ended, "an end is told");
  }
  if (!host.over) {
    control.close(errc::peer_closed);
    host.over = true;
  }
  // Nothing wakes it any more.
  control.advance(now + std::chrono::hours(24));
  control.tick();
  control.want_channel(lane::bulk);
  require(control.next_due() == time_point::max(), "an ended session has no time");
  return 0;
}

} // namespace weft::fuzz
