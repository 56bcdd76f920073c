// Requests: what reaches the handler, what comes back, and how one ends that got no answer.
#include "rig.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>

using namespace weft;
using namespace weft::tests;

TEST_CASE_TEMPLATE("a request of every lane is answered with the bytes of its handler", Kind, in_threads,
                   in_processes) {
  rig<Kind> with;
  for (std::size_t i = 0; i < lane_count; ++i) {
    for (const std::size_t size : {std::size_t{5}, std::size_t{4096}, std::size_t{65536}}) {
      CAPTURE(i);
      CAPTURE(size);
      std::vector<std::byte> payload(size);
      fill(payload, i);
      std::memcpy(payload.data(), "echo ", 5);
      const request_options options{.lane = static_cast<lane>(i)};
      CHECK(soon(with.link.request(payload, options, asio::use_future)).payload == payload);
    }
  }
}

TEST_CASE_TEMPLATE("bulk makes room for realtime messages alone, not for a link that is opened", Kind, in_threads,
                   in_processes) {
  rig<Kind> with({}, {{"host.share", "off"}});
  CHECK(with.ask("echo") == "echo");
  CHECK_FALSE(with.client.snapshot().crowded);
  CHECK(with.client.snapshot().realtime_pickup.total() == 0);
  soon(with.link.request(bytes_of("echo"), {.lane = lane::realtime}, asio::use_future));
  const auto counted = with.client.snapshot();
  CHECK(counted.crowded);
  CHECK(counted.realtime_pickup.total() == 1);
  // On the rail that it went over, and no other.
  CHECK(std::ranges::count_if(counted.rails, [](const auto& each) { return each.budget.crowded; }) == 1);
}

TEST_CASE_TEMPLATE("bulk makes room for the realtime messages of other fabrics of the host, if they share", Kind,
                   in_threads, in_processes) {
  rig<Kind> with({.values = {{"host.share", "off"}}});
  auto beside = fabric::open(configured({{"host.share", "user"}})).value();
  auto alone = fabric::open(configured({{"host.share", "off"}})).value();
  CHECK(with.ask("echo") == "echo");
  soon(with.link.request(bytes_of("echo"), {.lane = lane::realtime}, asio::use_future));
  CHECK(beside.snapshot().crowded);
  CHECK_FALSE(alone.snapshot().crowded);
}

TEST_CASE_TEMPLATE("realtime beyond its limit goes over standard, and is counted; the limit changes while it runs",
                   Kind, in_threads, in_processes) {
  constexpr std::size_t much = 16 << 20; ///< 16 s worth, so that it lasts while the standard lane is set up
  rig<Kind> with({.size = much}, {{"lane.realtime.limit", "1MB/s"}});
  const auto region = with.filled(much, 3);
  const auto remote = with.open("target");
  const auto ask = [&] { soon(with.link.request(bytes_of("echo"), {.lane = lane::realtime}, asio::use_future)); };
  const auto demoted = [&] { return with.client.snapshot().realtime_demoted; };
  ask();
  CHECK(demoted() == 0);
  soon(with.link.write(region, remote.sub(0, much), {.lane = lane::realtime}, asio::use_future));
  CHECK(demoted() == 0);
  CHECK(with.client.snapshot().of(lane::realtime).bytes_sent == much);
  ask();
  CHECK(demoted() == 1);
  const auto little = with.filled(1 << 20, 4);
  soon(with.link.write(little, remote.sub(0, 1 << 20), {.lane = lane::realtime}, asio::use_future));
  CHECK(demoted() == 2);
  CHECK(with.client.snapshot().of(lane::standard).bytes_sent == 1 << 20);
  with.client.set({{"lane.realtime.limit", "0"}}).value();
  ask();
  CHECK(demoted() == 2);
}

TEST_CASE_TEMPLATE("an empty request gets an empty answer", Kind, in_threads, in_processes) {
  rig<Kind> with;
  CHECK(soon(with.link.request({}, {}, asio::use_future)).payload.empty());
}

TEST_CASE_TEMPLATE("a request over 64 KiB is too_large before anything is sent", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto [code, answer] = soon(with.link.request(std::vector<std::byte>(65537), {}, outcome));
  CHECK(code == errc::too_large);
  CHECK_FALSE(answer.maybe_executed);
}

TEST_CASE_TEMPLATE("a peer without a handler is named", Kind, in_threads, in_processes) {
  rig<Kind> with({.silent = true});
  const auto [code, answer] = soon(with.link.request(bytes_of("echo"), {}, outcome));
  CHECK(code == errc::no_handler);
}

TEST_CASE_TEMPLATE("a handler's error arrives with its words", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto [code, answer] = soon(with.link.request(bytes_of("fail 503 not for you"), {}, outcome));
  CHECK(code == errc::limit_exceeded);
  CHECK(answer.where == "not for you");
}

TEST_CASE_TEMPLATE("a request that its handler drops ends with handler_failed", Kind, in_threads, in_processes) {
  rig<Kind> with;
  const auto [code, answer] = soon(with.link.request(bytes_of("drop"), {}, outcome));
  CHECK(code == errc::handler_failed);
}

TEST_CASE_TEMPLATE("at its deadline a request ends, and says that it may have been executed", Kind, in_threads,
                   in_processes) {
  rig<Kind> with;
  const auto begin = std::chrono::steady_clock::now();
  const auto [code, answer] = soon(with.link.request(bytes_of("delay 5000"), {.deadline = 50ms}, outcome));
  CHECK(code == errc::deadline_exceeded);
  CHECK(answer.maybe_executed);
  CHECK(std::chrono::steady_clock::now() - begin < 4s);
  CHECK(with.ask("echo after") == "echo after");
}

TEST_CASE_TEMPLATE("a request is cancelled through its slot", Kind, in_threads, in_processes) {
  rig<Kind> with;
  asio::cancellation_signal stop;
  std::promise<error_code> ended;
  with.link.request(
      bytes_of("delay 5000"), {},
      asio::bind_cancellation_slot(stop.slot(), [&](error_code code, response) { ended.set_value(code); }));
  stop.emit(asio::cancellation_type::terminal);
  CHECK(soon(ended.get_future()) == errc::cancelled);
}

TEST_CASE_TEMPLATE("the handler runs once for every request", Kind, in_threads, in_processes) {
  rig<Kind> with;
  std::vector<std::future<response>> answers;
  for (int i = 0; i < 500; ++i) {
    answers.push_back(with.link.request(bytes_of("mark once"), {.lane = static_cast<lane>(i % 4)}, asio::use_future));
  }
  for (auto& answer : answers) soon(std::move(answer));
  CHECK(with.ask("marks once") == "500");
}

TEST_CASE_TEMPLATE("a handler runs on the executor given with it, else on the thread of its lane", Kind, in_threads,
                   in_processes) {
  const auto thread_of = [](rig<Kind>& with, lane on) {
    return text_of(soon(with.link.request(bytes_of("thread"), {.lane = on}, asio::use_future)).payload);
  };
  rig<Kind> elsewhere;
  CHECK(thread_of(elsewhere, lane::realtime).find("weft-") == std::string::npos);
  rig<Kind> inside({.inline_handler = true});
  CHECK(thread_of(inside, lane::realtime) == "weft-realtime");
  CHECK(thread_of(inside, lane::standard) == "weft-data");
  CHECK(thread_of(inside, lane::bulk) == "weft-data");
}

TEST_CASE_TEMPLATE("an answer over 64 KiB is the handler's mistake, and named", Kind, in_threads) {
  rig<Kind> with;
  fabric server(configured({{"listen", "127.0.0.1:0"}}));
  server.on_request([](incoming_request request) { request.reply(std::vector<std::byte>(65537)); });
  auto link = soon(with.client.connect(server.address(), asio::use_future));
  const auto [code, answer] = soon(link.request({}, {}, outcome));
  CHECK(code == errc::too_large);
}

TEST_CASE_TEMPLATE("beyond operations.max a request waits or is refused, as asked", Kind, in_threads, in_processes) {
  rig<Kind> with({}, {{"operations.max", "2"}});
  std::vector<std::future<response>> held;
  for (int i = 0; i < 2; ++i) held.push_back(with.link.request(bytes_of("delay 300"), {}, asio::use_future));
  const auto [full, refused] = soon(with.link.request(bytes_of("echo"), {.when_full = when_full::fail}, outcome));
  CHECK(full == errc::queue_full);
  CHECK_FALSE(refused.maybe_executed);
  const auto [late, unsent] =
      soon(with.link.request(bytes_of("mark unsent"), {.deadline = 20ms, .when_full = when_full::wait}, outcome));
  CHECK(late == errc::deadline_exceeded);
  CHECK_FALSE(unsent.maybe_executed);
  CHECK(text_of(soon(with.link.request(bytes_of("echo x"), {}, asio::use_future)).payload) == "echo x");
  for (auto& each : held) soon(std::move(each));
  CHECK(with.ask("marks unsent") == "0");
}

TEST_CASE_TEMPLATE("an answer after the link has gone goes nowhere and harms nobody", Kind, in_threads, in_processes) {
  auto with = std::make_unique<rig<Kind>>();
  auto answer = with->link.request(bytes_of("mark late 500"), {}, outcome);
  CHECK(eventually([&] { return with->ask("marks late") == "1"; }));
  with->link.close();
  CHECK(std::get<0>(soon(std::move(answer))) == errc::closed);
  std::this_thread::sleep_for(600ms);
}
