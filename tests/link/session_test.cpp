// A session shakes hands, comes back after a loss, gives up in time, and has its channels dialled.
#include "link/session.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace weft;
using namespace weft::links;

namespace {

constexpr id128 link_id{1, 2};

wire::hello hello_of(std::string name, std::uint64_t incarnation) {
  return {.name = std::move(name), .incarnation = {incarnation, 0}, .session = link_id};
}

/// Notes what a session does.
struct recorder final : session_host {
  void dial_session() override { ++dials; }
  void drop_session() override { ++drops; }
  void send(const wire::frame_header& header, std::span<const std::byte> body) override {
    sent.push_back(header);
    last_body.assign(body.begin(), body.end());
  }
  void dial_channel(wire::place at, std::uint32_t epoch) override { channel_dials.emplace_back(at, epoch); }
  void drop_channel(wire::place at, std::uint32_t epoch) override { channel_failures.emplace_back(at, epoch); }
  void linked() override { ++links; }
  void probed(bool lives) override { probes.push_back(lives); }
  void ended(const error& why) override { end = why; }

  [[nodiscard]] int count(wire::frame_type type) const {
    return static_cast<int>(
        std::count_if(sent.begin(), sent.end(), [type](const auto& one) { return one.type == type; }));
  }

  std::vector<bool> probes;
  int dials = 0;
  int drops = 0;
  int links = 0;
  std::vector<wire::frame_header> sent;
  std::vector<std::byte> last_body;
  std::vector<std::pair<wire::place, std::uint32_t>> channel_dials;
  std::vector<std::pair<wire::place, std::uint32_t>> channel_failures;
  std::optional<error> end;
};

using channel_list = std::vector<std::pair<wire::place, std::uint32_t>>;

/// A dialling session at a time that the test moves.
struct dialler {
  dialler() { go(0ms); }

  void go(duration by) {
    now += by;
    control.advance(now);
    control.tick();
  }
  void answer(std::uint64_t incarnation = 20, std::uint64_t required = 0) {
    auto peer = hello_of("storage", incarnation);
    peer.session_epoch = control.mine().session_epoch;
    peer.required = required;
    std::vector<std::byte> body;
    wire::encode(peer, body);
    control.frame_arrived({.type = wire::frame_type::hello_answer}, body);
  }
  void establish() {
    control.start();
    control.connected();
    answer();
  }

  tunables limits;
  recorder host;
  time_point now = time_point{} + 1s;
  session control{host, limits, hello_of("trainer", 10)};
};

struct accepter {
  accepter() {
    control.advance(now);
    control.start();
  }
  [[nodiscard]] static wire::hello greeting(std::uint32_t epoch, std::uint64_t incarnation = 10) {
    auto hello = hello_of("trainer", incarnation);
    hello.session_epoch = epoch;
    return hello;
  }

  tunables limits;
  recorder host;
  time_point now = time_point{} + 1s;
  session control{host, limits, hello_of("storage", 20), greeting(1)};
};

const error broke(errc::path_failed, "test");

} // namespace

TEST_CASE("the dialling end greets when it is connected, and is linked by the answer") {
  dialler end;
  end.control.start();
  CHECK(end.host.dials == 1);
  end.control.connected();
  CHECK(end.host.count(wire::frame_type::hello) == 1);
  CHECK(wire::decode_hello(end.host.last_body).value().session_epoch == 1);
  CHECK(end.host.links == 0);
  end.answer();
  CHECK(end.control.state() == session_state::established);
  CHECK(end.control.peer().name == "storage");
  CHECK(end.host.links == 1);
  CHECK(end.control.next_due() == time_point::max());
}

TEST_CASE("the accepting end answers at once") {
  accepter end;
  CHECK(end.host.links == 1);
  const auto answer = wire::decode_hello(end.host.last_body).value();
  CHECK(answer.session == link_id);
  CHECK(answer.session_epoch == 1);
  CHECK(answer.name == "storage");
}

TEST_CASE("a first attempt that fails ends the session with its reason") {
  dialler end;
  end.control.start();
  SUBCASE("refused") {
    end.control.disconnected(error(errc::connect_refused));
    CHECK(end.host.end.value() == errc::connect_refused);
  }
  SUBCASE("no connection in time") {
    end.go(end.limits.connect_timeout);
    CHECK(end.host.end.value() == errc::peer_unresponsive);
  }
  SUBCASE("no answer in time") {
    end.control.connected();
    end.go(end.limits.handshake_timeout);
    CHECK(end.host.end.value() == errc::peer_unresponsive);
  }
  SUBCASE("an answer to another hello") {
    end.control.connected();
    auto other = hello_of("storage", 20);
    other.session_epoch = 7;
    std::vector<std::byte> body;
    wire::encode(other, body);
    end.control.frame_arrived({.type = wire::frame_type::hello_answer}, body);
    CHECK(end.host.end.value() == errc::protocol_error);
  }
  SUBCASE("a refusal says why") {
    end.control.connected();
    end.control.frame_arrived(
        {.type = wire::frame_type::refusal, .code = static_cast<std::uint32_t>(errc::name_in_use)}, {});
    CHECK(end.host.end.value() == errc::name_in_use);
  }
  CHECK(end.control.state() == session_state::ended);
  CHECK(end.control.next_due() == time_point::max());
}

TEST_CASE("a lost session is dialled again under the next epoch, with growing pauses") {
  dialler end;
  end.establish();
  end.control.disconnected(broke);
  CHECK(end.control.state() == session_state::broken);
  CHECK(end.host.dials == 1);
  end.go(end.limits.redial_min);
  CHECK(end.host.dials == 2);
  end.control.disconnected(broke);
  end.go(end.limits.redial_min);
  CHECK(end.host.dials == 2);
  end.go(end.limits.redial_min);
  CHECK(end.host.dials == 3);
  end.control.connected();
  CHECK(wire::decode_hello(end.host.last_body).value().session_epoch == 2);
  end.answer();
  CHECK(end.control.state() == session_state::established);
  CHECK(end.host.links == 1);
  CHECK_FALSE(end.host.end.has_value());
}

TEST_CASE("the pause between redials has an end") {
  dialler end;
  end.limits.session_grace = 1h;
  end.establish();
  end.control.disconnected(broke);
  for (int i = 0; i < 70; ++i) {
    const auto before = end.host.dials;
    end.go(end.limits.redial_max);
    CHECK(end.host.dials == before + 1);
    end.control.disconnected(broke);
  }
}

TEST_CASE("a peer without a session for longer than session_grace is lost") {
  dialler end;
  end.establish();
  end.control.disconnected(broke);
  for (int i = 0; i < 100 && !end.host.end; ++i) {
    end.go(end.limits.session_grace / 20);
    if (!end.host.end) end.control.disconnected(error(errc::connect_refused));
  }
  CHECK(end.host.end.value() == errc::peer_lost);
  accepter other;
  other.control.disconnected(broke);
  other.control.advance(other.now + other.limits.session_grace);
  other.control.tick();
  CHECK(other.host.end.value() == errc::peer_lost);
}

TEST_CASE("a session that came back in time is not lost later") {
  accepter end;
  end.control.disconnected(broke);
  CHECK(end.control.resumed(accepter::greeting(2)));
  CHECK(end.control.next_due() == time_point::max());
  end.control.advance(end.now + 2 * end.limits.session_grace);
  end.control.tick();
  CHECK_FALSE(end.host.end.has_value());
}

TEST_CASE("a peer that answers as another incarnation has restarted") {
  dialler end;
  end.establish();
  end.control.disconnected(broke);
  end.go(end.limits.redial_min);
  end.control.connected();
  end.answer(21);
  CHECK(end.host.end.value() == errc::peer_restarted);
}

TEST_CASE("only a newer hello of the same incarnation takes a session over") {
  accepter end;
  CHECK_FALSE(end.control.resumed(accepter::greeting(1)));
  CHECK_FALSE(end.control.resumed(accepter::greeting(2, 11)));
  CHECK(end.host.drops == 0);
  CHECK(end.control.resumed(accepter::greeting(3)));
  CHECK(end.host.drops == 1);
  CHECK(wire::decode_hello(end.host.last_body).value().session_epoch == 3);
  CHECK_FALSE(end.control.resumed(accepter::greeting(2)));
}

TEST_CASE("a closed session says goodbye, and its peer ends by it") {
  dialler end;
  end.establish();
  end.control.close(errc::closed);
  CHECK(end.host.count(wire::frame_type::goodbye) == 1);
  CHECK_FALSE(end.host.end.has_value());
  end.control.disconnected(broke);
  end.go(1h);
  CHECK(end.host.dials == 1);
  accepter other;
  other.control.frame_arrived(end.host.sent.back(), {});
  CHECK(other.host.end.value() == errc::peer_closed);
  CHECK(other.host.end->where() == "trainer");
  CHECK_FALSE(other.control.resumed(accepter::greeting(2)));
}

TEST_CASE("a session that is closed for a reason tells it") {
  dialler end;
  end.establish();
  end.control.close(errc::protocol_error);
  accepter other;
  other.control.frame_arrived(end.host.sent.back(), {});
  CHECK(other.host.end.value() == errc::peer_closed);
  CHECK(other.host.end->where() == "trainer: protocol_error");
}

TEST_CASE("a peer that is slow to answer a first hello hears that nobody waits any more") {
  dialler end;
  end.control.start();
  end.control.connected();
  end.go(end.limits.handshake_timeout);
  CHECK(end.host.end.value() == errc::peer_unresponsive);
  CHECK(end.host.sent.back().type == wire::frame_type::goodbye);
  CHECK(end.host.drops == 1);
}

TEST_CASE("a peer that requires what this end does not know is no peer") {
  dialler end;
  end.control.start();
  end.control.connected();
  end.answer(20, 1);
  CHECK(end.host.end.value() == errc::version_mismatch);
  CHECK(end.host.links == 0);
  REQUIRE(end.host.sent.back().type == wire::frame_type::goodbye); // the peer is linked already
  CHECK(end.host.sent.back().code == static_cast<std::uint32_t>(errc::version_mismatch));
}

TEST_CASE("a session closed while it was lost needs no more time") {
  dialler end;
  end.establish();
  end.control.disconnected(broke);
  end.control.close(errc::closed);
  CHECK(end.control.next_due() == time_point::max());
}

TEST_CASE("a frame that has no place on a session ends it") {
  accepter end;
  end.control.frame_arrived({.type = wire::frame_type::grant}, {});
  CHECK(end.host.end.value() == errc::protocol_error);
  REQUIRE(end.host.sent.back().type == wire::frame_type::goodbye); // else its peer would redial, and hear of a restart
  CHECK(end.host.sent.back().code == static_cast<std::uint32_t>(errc::protocol_error));
}

TEST_CASE("a ping is answered") {
  accepter end;
  end.control.frame_arrived({.type = wire::frame_type::ping}, {});
  CHECK(end.host.sent.back().type == wire::frame_type::pong);
}

TEST_CASE("a wanted channel is dialled under the next epoch, once") {
  dialler end;
  end.establish();
  end.control.want_channel(lane::bulk);
  end.control.want_channel(lane::bulk);
  CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}});
  end.control.channel_opened(lane::bulk, 1);
  end.control.channel_lost(lane::bulk, 1);
  CHECK(end.host.sent.back().type == wire::frame_type::channel_failed);
  end.control.want_channel(lane::bulk);
  end.go(end.limits.redial_min); // it flapped
  CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}, {lane::bulk, 2}});
}

TEST_CASE("a channel that works is replaced by another one, and its own end is no news then") {
  dialler end;
  end.establish();
  end.control.replace_channel(lane::bulk);
  CHECK(end.host.channel_dials.empty()); // there is none
  end.control.want_channel(lane::bulk);
  end.control.replace_channel(lane::bulk); // it is on its way
  end.control.channel_opened(lane::bulk, 1);
  end.control.replace_channel(lane::bulk);
  CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}, {lane::bulk, 2}});
  const auto said = end.host.sent.size();
  end.control.channel_lost(lane::bulk, 1);
  CHECK(end.host.sent.size() == said);
  SUBCASE("it comes") {
    end.control.channel_opened(lane::bulk, 2);
    end.go(1s);
    CHECK(end.host.channel_dials.size() == 2);
  }
  SUBCASE("it does not") {
    end.control.channel_lost(lane::bulk, 2);
    end.go(end.limits.redial_min);
    CHECK(end.host.channel_dials.back() == std::pair(wire::place(lane::bulk), 3U));
  }
}

TEST_CASE("a channel that cannot be dialled is dialled again, more and more slowly") {
  dialler end;
  end.establish();
  end.control.want_channel(lane::standard);
  for (std::uint32_t epoch = 1; epoch <= 5; ++epoch) {
    CHECK(end.host.channel_dials.size() == epoch);
    end.control.channel_lost(lane::standard, epoch);
    CHECK(end.host.channel_dials.size() == epoch);
    end.go(end.limits.redial_min * (std::int64_t{1} << (epoch - 1)));
  }
}

TEST_CASE("channels wait for the session") {
  dialler end;
  end.establish();
  end.control.disconnected(broke);
  end.control.want_channel(lane::bulk);
  CHECK(end.host.channel_dials.empty());
  end.go(end.limits.redial_min);
  end.control.connected();
  end.answer();
  CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}});
}

TEST_CASE("the accepting end asks for a channel, again after the session came back") {
  accepter end;
  end.control.want_channel(lane::bulk);
  CHECK(end.host.count(wire::frame_type::channel_wanted) == 1);
  end.control.disconnected(broke);
  CHECK(end.control.resumed(accepter::greeting(2)));
  CHECK(end.host.count(wire::frame_type::channel_wanted) == 2);
}

TEST_CASE("an accepted channel must be newer than the last") {
  accepter end;
  CHECK(end.control.may_open(lane::bulk, 3));
  end.control.channel_opened(lane::bulk, 3);
  CHECK_FALSE(end.control.may_open(lane::bulk, 3));
  CHECK(end.control.may_open(lane::bulk, 4));
  CHECK(end.control.may_open(lane::standard, 1));
  dialler other;
  other.establish();
  CHECK_FALSE(other.control.may_open(lane::bulk, 1));
}

TEST_CASE("a channel that the peer lost is closed here, and opened anew when the peer waits for one") {
  dialler end;
  end.establish();
  end.control.want_channel(lane::bulk);
  end.control.channel_opened(lane::bulk, 1);
  SUBCASE("it says that it failed") {
    end.control.frame_arrived({.type = wire::frame_type::channel_failed, .epoch = 1, .index = 2}, {});
    CHECK(end.host.channel_failures == channel_list{{lane::bulk, 1}});
  }
  SUBCASE("it wants another, which proves the same") {
    end.control.frame_arrived({.type = wire::frame_type::channel_wanted, .epoch = 1, .index = 2}, {});
    CHECK(end.host.channel_failures == channel_list{{lane::bulk, 1}});
    end.control.channel_lost(lane::bulk, 1);
    end.go(end.limits.redial_min);
    CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}, {lane::bulk, 2}});
  }
  SUBCASE("it wanted one before it knew of this one") {
    end.control.frame_arrived({.type = wire::frame_type::channel_wanted, .epoch = 0, .index = 2}, {});
    CHECK(end.host.channel_failures.empty());
    end.control.channel_lost(lane::bulk, 1);
    end.go(1s);
    CHECK(end.host.channel_dials.size() == 1);
  }
}

TEST_CASE("an engine that asks before the session heard of the loss gets its channel") {
  dialler end;
  end.establish();
  end.control.want_channel(lane::bulk);
  end.control.channel_opened(lane::bulk, 1);
  end.control.want_channel(lane::bulk);
  end.control.channel_lost(lane::bulk, 1);
  end.go(end.limits.redial_min);
  CHECK(end.host.channel_dials == channel_list{{lane::bulk, 1}, {lane::bulk, 2}});
}

TEST_CASE("a probe tells whether the peer answers in time") {
  dialler side;
  side.establish();
  side.control.probe();
  CHECK(side.host.count(wire::frame_type::ping) == 1);
  CHECK(side.host.probes.empty());
  SUBCASE("it does") {
    side.control.probe(); // joins the first
    side.control.frame_arrived({.type = wire::frame_type::pong}, {});
    CHECK(side.host.probes == std::vector{true});
    CHECK(side.host.count(wire::frame_type::ping) == 1);
  }
  SUBCASE("it does not") {
    side.go(side.limits.probe_timeout);
    CHECK(side.host.probes == std::vector{false});
    CHECK_FALSE(side.host.end.has_value());
  }
  SUBCASE("the session is lost meanwhile, and comes back in time") {
    side.control.disconnected(error(errc::path_failed));
    side.go(side.limits.redial_min);
    side.control.connected();
    side.answer();
    CHECK(side.host.count(wire::frame_type::ping) == 2);
    CHECK(side.host.probes.empty());
    side.control.frame_arrived({.type = wire::frame_type::pong}, {});
    CHECK(side.host.probes == std::vector{true});
  }
  SUBCASE("the session is lost and stays so") {
    side.control.disconnected(error(errc::path_failed));
    CHECK(side.host.probes.empty());
    side.go(side.limits.probe_timeout);
    CHECK(side.host.probes == std::vector{false});
  }
  SUBCASE("the link is closed meanwhile") {
    side.control.close(errc::peer_closed);
    CHECK(side.host.probes == std::vector{false});
  }
  const auto told = side.host.probes.size();
  side.control.frame_arrived({.type = wire::frame_type::pong}, {}); // late
  CHECK(side.host.probes.size() == told);
}

TEST_CASE("a refusal without a reason of the list is a protocol_error, never a success") {
  for (const std::uint32_t code : {0U, 12345U}) {
    CAPTURE(code);
    dialler side;
    side.control.start();
    side.control.connected();
    side.control.frame_arrived({.type = wire::frame_type::refusal, .code = code}, {});
    REQUIRE(side.host.end.has_value());
    CHECK(side.host.end->code() == errc::protocol_error);
  }
}
