// A verbs channel on a fake network card, whose owner and engine write down what they are told.
#pragma once

#include "fake_nic.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <thread>

namespace weft::tests {

namespace verbs = path::verbs;

inline constexpr std::uint32_t plenty = 1000; ///< credits

inline std::vector<std::byte> counting(std::size_t length) {
  std::vector<std::byte> bytes(length);
  for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i * 7);
  return bytes;
}

inline wire::frame_header message(std::uint32_t number, std::size_t length) {
  return {.type = wire::frame_type::request, .body_length = static_cast<std::uint32_t>(length), .number = number};
}

inline wire::frame_header slice(std::uint32_t index, std::uint64_t offset, std::uint32_t length) {
  return {.type = wire::frame_type::slice, .body_length = length, .index = index, .transfer = 5, .offset = offset};
}

inline std::vector<std::byte> frame(const wire::frame_header& header, std::span<const std::byte> body = {}) {
  std::vector<std::byte> bytes(wire::header_size);
  wire::encode(header, std::span<std::byte, wire::header_size>(bytes));
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

struct recorder final : path::listener, path::driver {
  void frame_arrived(wire::place, const wire::frame_header& header, std::span<const std::byte> body) override {
    frames.push_back(header);
    bodies.emplace_back(body.begin(), body.end());
  }
  void slice_began(wire::place, const wire::frame_header&) override {
    FAIL("a one-sided channel has no payload to place");
  }
  std::size_t slice_space(wire::place, std::span<iovec>) override { return 0; }
  void slice_grew(wire::place, std::size_t) override {}
  void slice_landed(wire::place, const wire::frame_header& header) override { landed.push_back(header); }
  void sent(wire::place, std::uint64_t) override { ++slices_sent; }
  void writable(wire::place) override { ++writables; }
  void batch_begins() override {
    CHECK_MESSAGE(closings == 0, "the owner of a channel may be gone once that was closed");
    ++depth;
  }
  void batch_ends() override { --depth; }
  void channel_failed(wire::place, std::uint32_t, const error& why) override { failures.push_back(why); }
  void protocol_broken(const error& how) override { broken.push_back(how); }
  void channel_closed(wire::place, std::uint32_t) override { ++closings; }

  std::vector<wire::frame_header> frames;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<wire::frame_header> landed;
  std::vector<error> failures;
  std::vector<error> broken;
  int slices_sent = 0;
  int writables = 0;
  int closings = 0;
  int depth = 0;
};

/// A channel on a fake card, with 64 KiB of memory that can be sent.
struct rig {
  explicit rig(std::uint32_t depth = 64, std::uint32_t credits = plenty, const tunables& chosen = patient())
      : limits(chosen), rail(nic.rail()) {
    limits.verbs_receive_slots = 128;
    limits.verbs_send_slots = 32;
    limits.verbs_send_depth = depth;
    shared = verbs::queues::open(rail, context.get_executor(), limits).value();
    REQUIRE(shared->reserve(depth));
    pair = &nic.make_pair(depth);
    auto made = nic.make_endpoint(*pair, shared, credits);
    end = made.get();
    channel = std::make_shared<verbs::channel>(
        std::move(made), context.get_executor(), lane::bulk, 3, events, events,
        [this](std::unique_ptr<verbs::endpoint> used, std::function<void()> done) {
          used.reset();
          // As the connector does, and at once: what this thread posted before comes behind it.
          std::thread([this, &done] { boost::asio::post(context, std::move(done)); }).join();
        },
        limits);
    channel->attach();
  }
  /// Who waits for nothing but what the card tells.
  static tunables patient() {
    tunables limits;
    limits.verbs_fence_limit = std::chrono::hours(1);
    limits.verbs_ack_timeout = std::chrono::seconds(10);
    return limits;
  }
  ~rig() {
    CHECK_FALSE(nic.overflown);
    CHECK(events.depth == 0);
    if (!closed) close();
  }

  /// The connection is up, and the peer's first word has come.
  void open() {
    end->on_event(verbs::endpoint::event::established, {});
    run();
    nic.deliver(*pair, {}, plenty);
    run();
    nic.complete_all(*pair);
    run();
    pair->posted.clear();
    pair->doorbells = 0;
  }
  void run() {
    for (int i = 0; i < 100; ++i) {
      const bool any = shared->fetch();
      if (any) shared->deliver();
      if (!any && context.poll() == 0) return;
      context.restart();
    }
  }
  template <class Condition>
  void run_until(const Condition& holds) {
    while (!holds()) {
      context.restart();
      context.run_one();
    }
  }
  void close() {
    closed = true;
    if (channel->close()) return;
    nic.complete(*pair, pair->posted.back().request.wr_id, IBV_WC_WR_FLUSH_ERR);
    if (end->on_event) end->on_event(verbs::endpoint::event::last_request_reached, {});
    run();
  }

  /// False: it takes none now.
  bool post(std::uint32_t index, std::uint64_t offset, std::uint32_t length) {
    if (!channel->takes_slices()) return false;
    channel->post_slice(slice(index, offset, length), {0, length}, pieces, granted);
    return true;
  }

  fake_nic nic;
  boost::asio::io_context context{1}; ///< as a worker's
  tunables limits;
  verbs::rail rail;
  std::shared_ptr<verbs::queues> shared;
  recorder events;
  fake_pair* pair = nullptr;
  verbs::endpoint* end = nullptr;
  std::shared_ptr<verbs::channel> channel;
  bool closed = false;
  std::vector<std::byte> memory = counting(64 * 1024);
  std::shared_ptr<const registration> known =
      std::make_shared<const registration>(memory, nullptr, nullptr, std::vector<rail_key>{{77, 78}});
  memory::piece_list pieces{memory, known};
  memory::granted_list granted = [] {
    memory::granted_list list(1);
    list.add_key(99);
    list.add(0, 0x10000, 40 * 1024);
    list.add(0, 0x90000, 24 * 1024);
    return list;
  }();
};

} // namespace weft::tests
