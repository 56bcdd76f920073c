// What comes over a queue pair: the private data of its connection, and messages whose bytes are a stream of frames, in
// whatever portions. Frames that a peer has cut as it likes arrive whole and in order; anything else ends the channel
// with one error.
#define DOCTEST_CONFIG_DISABLE // the fake card checks itself in unit tests
#include "choices.hpp"

#include "../fabric/fake_nic.hpp"

#include "path/verbs/connect.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>

namespace weft::fuzz {
namespace {

using namespace path;

void greeting(std::span<const std::byte> bytes) {
  const auto said = verbs::decode_greeting(bytes);
  if (!said) return;
  const auto encoded = verbs::encode(*said);
  require(verbs::decode_greeting(encoded).value() == *said, "a greeting is read back");
}

struct arrivals final : listener, driver {
  void came(const wire::frame_header& header, std::span<const std::byte> body) {
    require(ends == 0, "nothing comes behind an error");
    const auto at = bytes.size();
    bytes.resize(at + wire::header_size);
    wire::encode(header, std::span(bytes).subspan(at).first<wire::header_size>());
    bytes.insert(bytes.end(), body.begin(), body.end());
  }
  void frame_arrived(wire::place, const wire::frame_header& header, std::span<const std::byte> body) override {
    came(header, body);
  }
  void slice_began(wire::place, const wire::frame_header&) override { require(false, "no payload is to be placed"); }
  std::size_t slice_space(wire::place, std::span<iovec>) override { return 0; }
  void slice_grew(wire::place, std::size_t) override {}
  void slice_landed(wire::place, const wire::frame_header& header) override { came(header, {}); }
  void sent(wire::place, std::uint64_t) override {}
  void writable(wire::place) override {}
  void batch_begins() override { ++depth; }
  void batch_ends() override { --depth; }
  void channel_failed(wire::place, std::uint32_t, const error&) override { ++ends; }
  void protocol_broken(const error&) override { ++ends; }
  void channel_closed(wire::place, std::uint32_t) override { closed = true; }

  std::vector<std::byte> bytes; ///< of all frames that came, as they were sent
  int ends = 0;
  int depth = 0;
  bool closed = false;
};

/// A channel on a fake card.
struct receiver {
  receiver() : rail(nic.rail()) {
    limits.verbs_receive_slots = 64;
    limits.verbs_send_slots = 16;
    limits.verbs_send_depth = 32;
    shared = verbs::queues::open(rail, context.get_executor(), limits).value();
    require(shared->reserve(32), "there is room for one channel");
    pair = &nic.make_pair(32);
    auto made = nic.make_endpoint(*pair, shared, 16);
    end = made.get();
    channel = std::make_shared<verbs::channel>(
        std::move(made), context.get_executor(), lane::bulk, 3, heard, heard,
        [this](std::unique_ptr<verbs::endpoint> used, std::function<void()> done) {
          used.reset();
          boost::asio::post(context, std::move(done));
        },
        limits);
    channel->attach();
  }
  ~receiver() {
    if (!channel->close()) {
      nic.complete(*pair, pair->posted.back().request.wr_id, IBV_WC_WR_FLUSH_ERR);
      end->on_event(verbs::endpoint::event::last_request_reached, {});
      run();
      require(heard.closed, "a channel that is closed ends");
    }
    require(heard.depth == 0 && !nic.overflown, "batches end, and no queue is given more than it holds");
  }

  void run() {
    for (;;) {
      const bool any = shared->fetch();
      if (any) shared->deliver();
      if (!any && context.poll() == 0) return;
      context.restart();
    }
  }
  void deliver(std::span<const std::byte> message, std::uint32_t credits, ibv_wc_opcode as, unsigned flags) {
    if (nic.receives.empty()) return; // the sender would wait
    nic.deliver(*pair, message, credits, as, flags);
    run();
    channel->flush();
    nic.complete_all(*pair);
    run();
  }

  tests::fake_nic nic;
  boost::asio::io_context context;
  tunables limits;
  verbs::rail rail;
  std::shared_ptr<verbs::queues> shared;
  arrivals heard;
  tests::fake_pair* pair = nullptr;
  verbs::endpoint* end = nullptr;
  std::shared_ptr<verbs::channel> channel;
};

/// A frame that is one, of any type.
void append_frame(choices& in, std::vector<std::byte>& stream) {
  static constexpr wire::frame_type types[] = {wire::frame_type::request, wire::frame_type::slice,
                                               wire::frame_type::acknowledge, wire::frame_type::marker};
  wire::frame_header header{.type = types[in.below(std::size(types))], .number = in.number<std::uint8_t>()};
  const auto body = header.type == wire::frame_type::request ? in.bytes(200) : std::span<const std::byte>();
  header.body_length = header.type == wire::frame_type::slice ? 4096 : static_cast<std::uint32_t>(body.size());
  const auto at = stream.size();
  stream.resize(at + wire::header_size);
  wire::encode(header, std::span(stream).subspan(at).first<wire::header_size>());
  stream.insert(stream.end(), body.begin(), body.end());
}

void messages(choices& in) {
  receiver at;
  at.end->on_event(verbs::endpoint::event::established, {});
  at.run();
  std::vector<std::byte> stream;
  std::vector<std::size_t> ends; // of its frames
  std::size_t sent = 0;
  bool honest = true;
  std::uint32_t credits = 16;
  while (in.any_left() && at.heard.ends == 0) {
    if (in.one_in(8)) { // whatever a peer may do that is none
      honest = false;
      const auto kind = in.one_in(2) ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV;
      at.deliver(in.bytes(300), in.number<std::uint32_t>(), kind, in.one_in(4) ? 0 : IBV_WC_WITH_IMM);
      continue;
    }
    append_frame(in, stream);
    ends.push_back(stream.size());
    const auto length = std::min(stream.size() - sent, 1 + in.below(400));
    // No more than there is credit for, as the last one said.
    const auto allowed = ntohl(at.pair->posted.back().request.imm_data);
    require(!honest || static_cast<std::int32_t>(allowed - at.nic.arrived) > 0, "credits come back");
    at.deliver(std::span(stream).subspan(sent, length), ++credits, IBV_WC_RECV, IBV_WC_WITH_IMM);
    sent += length;
  }
  if (!honest) return;
  require(at.heard.ends == 0, "an honest peer's channel does not end");
  const auto& came = at.heard.bytes;
  const auto cut = std::upper_bound(ends.begin(), ends.end(), sent);
  require(came.size() == (cut == ends.begin() ? 0 : *std::prev(cut)), "a frame comes when all of it is here");
  require(std::equal(came.begin(), came.end(), stream.begin()), "frames come as they were sent");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  if (in.below(4) == 0) {
    greeting(in.rest());
  } else {
    messages(in);
  }
  return 0;
}

} // namespace weft::fuzz
