// An engine between a caller and a peer who both do anything: every operation ends exactly once, memory is not touched
// after its operation's end (the address sanitizer watches: it is freed then), and nothing but the protocol's end comes
// of a peer that breaks it.
#include "choices.hpp"

#include "../lane/by_weight.hpp"
#include "base/crc32c.hpp"
#include "link/engine.hpp"

#include <map>
#include <memory>

namespace weft::fuzz {
namespace {

using namespace links;

constexpr lane lanes_here[] = {lane::standard, lane::bulk};
constexpr wire::place places_here[] = {lane::standard, lane::bulk, {lane::bulk, 1}, {lane::bulk, 2}};
constexpr std::uint64_t theirs = std::uint64_t{1} << 63;

/// Takes slices and reads their memory later, as a network does.
struct channel final : path::channel {
  struct posting {
    const memory::piece_list* pieces;
    wire::frame_header header;
  };

  [[nodiscard]] path::capabilities can() const noexcept override { return {.one_sided = one_sided}; }
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return number; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte>) override {
    require(open, "nothing is posted to a closed channel");
    if (!room && header.type != wire::frame_type::marker) return false;
    if (wire::is_numbered(header.type)) last_posted = header.number;
    return true;
  }
  [[nodiscard]] bool takes_slices() const noexcept override { return room && slices.size() < 4; }
  void post_slice(const wire::frame_header& header, path::slice_part part, const memory::piece_list& pieces,
                  const memory::granted_list&) override {
    require(open && takes_slices(), "no slice is posted to a channel that is closed or full");
    slices.push_back({&pieces, header});
    slices.back().header.offset += part.from;
    slices.back().header.body_length = part.length;
  }
  [[nodiscard]] bool close() override { return true; }
  void flush() override {}

  bool open = false;
  bool one_sided = false;
  bool room = true;
  std::uint32_t number = 0;
  std::uint32_t last_posted = 0;
  std::uint32_t slice_left = 0; ///< of the slice that is arriving: nothing else comes before its end
  std::vector<posting> slices;
};

struct world final : host {
  world(choices& from, bool sided) : in(from), one_sided(sided) {
    limits.operations_max = 8;
    limits.slice_size = byte_count(65536);
    limits.lane_bulk_channels = 1 + static_cast<std::uint32_t>(in.below(3));
  }

  // host
  void open_channel(wire::place at) override { wanted[at] = true; }
  void close_channel(wire::place at) override { closing.push_back(at); }
  void operation_arrived(const incoming& begun) override {
    arrived.push_back(begun.id);
    lengths[begun.id] = std::min<std::uint64_t>(begun.terms.length, 1 << 20);
    exact[begun.id] = begun.terms.length;
  }
  void protocol_broken(const error& how) override {
    require(how == errc::protocol_error, "a peer's mistake is a protocol_error");
    broken = true;
  }

  channel& of(wire::place at) { return channels[at]; }

  void up(wire::place at) {
    auto& it = of(at);
    if (it.open) return;
    it = {};
    it.open = true;
    it.one_sided = one_sided && at.carries == lane::bulk;
    it.number = ++epochs[at];
    wanted[at] = false;
    under_test.channel_up(at, it, rail);
  }
  void down(wire::place at) {
    auto& it = of(at);
    if (!it.open) return;
    it.open = false;
    it.slices.clear();
    under_test.channel_down(at);
  }
  void settle() {
    under_test.flush();
    rail.run(1 << 22);
    under_test.flush_channels();
    for (const auto at : std::exchange(closing, {})) down(at);
  }

  /// The network reads a posted slice, and says so.
  void transmit(wire::place at) {
    auto& it = of(at);
    if (!it.open || it.slices.empty()) return;
    const auto posted = it.slices.front();
    it.slices.erase(it.slices.begin());
    std::uint32_t sum = 0;
    posted.pieces->for_each(posted.header.offset, posted.header.body_length,
                            [&sum](std::span<const std::byte> part) { sum = crc32c(part, sum); });
    const bool checked = (posted.header.flags & wire::flag_body_crc) != 0;
    require(!checked || sum == posted.header.body_crc, "a slice has its checksum");
    under_test.sent(at, posted.header.transfer);
    under_test.writable(at);
  }

  choices& in;
  bool one_sided;
  tunables limits;
  lanes::host_board host;
  lanes::scheduler rail{lanes::by_weight({1, 1, 1, 1}), host};
  engine under_test{*this, limits, lanes_here, true};
  std::map<wire::place, channel> channels;
  std::map<wire::place, std::uint32_t> epochs;
  std::map<wire::place, bool> wanted;
  std::vector<wire::place> closing;
  std::vector<operation_id> arrived;
  std::vector<operation_id> mine;
  std::map<operation_id, std::uint64_t> lengths;
  std::map<operation_id, std::uint64_t> exact;
  std::uint32_t heard = 0;
  bool broken = false;
  int owners = 0;
  int completions = 0;
  time_point now = time_point{} + std::chrono::hours(1);
};

/// Owns the memory of an operation, which is freed with it as soon as the operation has ended.
struct owner final : completion {
  owner(world& of, std::uint64_t length)
      : at(of), memory(std::make_unique<std::byte[]>(std::max<std::uint64_t>(length, 1))) {
    ++at.owners;
  }
  void complete(outcome&&) override {
    require(std::exchange(ended, true) == false, "an operation ends once");
    ++at.completions;
    memory.reset();
  }

  world& at;
  std::unique_ptr<std::byte[]> memory;
  bool ended = false;
};

memory::piece_list pieces_of(choices& in, std::byte* memory, std::uint64_t length) {
  memory::piece_list pieces;
  const auto cut = length > 0 ? in.number<std::uint32_t>() % length : 0;
  pieces.add({memory, cut});
  pieces.add({memory + cut, length - cut});
  return pieces;
}

void begin_mine(world& with) {
  auto& in = with.in;
  operation_request asked;
  asked.kind = static_cast<wire::operation_kind>(in.below(3));
  asked.carries = lanes_here[in.below(2)];
  asked.verify = in.one_in(4) ? verify_mode::wire : verify_mode::slice;
  const auto length = asked.kind == wire::operation_kind::request ? 0 : in.below(300'000);
  auto holder = std::make_unique<owner>(with, length);
  if (length > 0) asked.pieces = pieces_of(in, holder->memory.get(), length);
  asked.deadline = with.now + std::chrono::milliseconds(in.number<std::uint16_t>());
  asked.stall = std::chrono::milliseconds(1 + in.number<std::uint8_t>());
  asked.wait_when_full = in.below(2) == 0;
  asked.keep_progress = in.below(2) == 0;
  const auto payload = in.bytes(40);
  asked.payload = payload;
  if (const auto id = with.under_test.start(std::move(asked), std::move(holder)); id != 0) with.mine.push_back(id);
}

void answer(world& with) {
  auto& in = with.in;
  if (with.arrived.empty()) return;
  const auto id = with.arrived[in.below(with.arrived.size())];
  const auto length = with.lengths[id];
  if (with.exact[id] != length) return with.under_test.respond(id, errc::too_large, "more than this test has", {});
  auto holder = std::make_unique<owner>(with, length);
  auto pieces = length > 0 ? pieces_of(in, holder->memory.get(), length) : memory::piece_list();
  switch (in.below(4)) {
    case 0: return with.under_test.accept_write(id, std::move(pieces), std::move(holder));
    case 1: return with.under_test.supply_read(id, std::move(pieces), {}, std::move(holder));
    default: break;
  }
  --with.owners; // this one was not handed over
  with.under_test.respond(id, in.below(2) == 0 ? error_code{} : make_error_code(errc::not_found), "there",
                          in.bytes(20));
}

operation_id some_id(world& with) {
  auto& in = with.in;
  switch (in.below(4)) {
    case 0: return with.mine.empty() ? 1 : with.mine[in.below(with.mine.size())];
    case 1: return with.arrived.empty() ? theirs | 1 : with.arrived[in.below(with.arrived.size())];
    case 2: return theirs | in.number<std::uint8_t>();
    default: return in.number<std::uint64_t>();
  }
}

std::vector<std::byte> body_of(world& with, wire::frame_type type) {
  auto& in = with.in;
  std::vector<std::byte> body;
  if (type == wire::frame_type::request && !in.one_in(8)) {
    const auto kind = static_cast<wire::operation_kind>(in.below(3));
    wire::encode(
        wire::request{.service = 0,
                      .kind = kind,
                      .carries = lanes_here[in.below(2)],
                      .verify = in.one_in(4) ? verify_mode::wire : verify_mode::slice,
                      .slice_size = 65536,
                      .length = kind == wire::operation_kind::request ? 0 : in.number<std::uint64_t>() % 200'000,
                      .window = 1 + in.number<std::uint32_t>(),
                      .time_left_ns = in.number<std::uint32_t>()},
        body);
  } else if (type == wire::frame_type::progress && !in.one_in(8)) {
    const wire::slice_range range{static_cast<std::uint32_t>(in.below(5)), static_cast<std::uint32_t>(1 + in.below(4)),
                                  in.one_in(3)};
    wire::encode(std::span(&range, 1), body);
  } else if (type == wire::frame_type::response && !in.one_in(8)) {
    wire::writer(body).text("peer").bytes(in.bytes(20));
  } else {
    const auto raw = in.bytes(64);
    body.assign(raw.begin(), raw.end());
  }
  return body;
}

/// Payload of the slice that is arriving, in as many portions as the listener names and the choices allow.
void go_on(world& with, wire::place on) {
  auto& it = with.of(on);
  while (it.slice_left > 0 && it.open && !with.broken) {
    iovec parts[4];
    const auto count = with.under_test.slice_space(on, parts);
    std::size_t space = 0;
    for (const auto& part : std::span(parts, count)) {
      std::memset(part.iov_base, 0, part.iov_len);
      space += part.iov_len;
    }
    const auto grown = count > 0 ? static_cast<std::uint32_t>(space) : it.slice_left;
    require(grown > 0 && grown <= it.slice_left, "no more space is named than the slice has");
    it.slice_left -= grown;
    with.under_test.slice_grew(on, grown);
    if (with.in.one_in(8)) return; // the rest comes later
  }
}

void hear_slice(world& with) {
  auto& in = with.in;
  const auto on = in.one_in(8) ? places_here[0] : places_here[1 + in.below(3)];
  auto& it = with.of(on);
  if (!it.open) return;
  if (it.slice_left > 0) return go_on(with, on);
  const auto id = some_id(with);
  const auto index = static_cast<std::uint32_t>(in.below(5));
  std::uint32_t length = 65536;
  if (const auto known = with.lengths.find(id); known != with.lengths.end() && known->second > index * 65536U) {
    length = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, known->second - index * 65536U));
  }
  const std::vector<std::byte> zeros(length);
  const wire::frame_header header{.type = wire::frame_type::slice,
                                  .flags = wire::flag_body_crc,
                                  .body_length = in.one_in(32) ? in.number<std::uint16_t>() : length,
                                  .body_crc = crc32c(zeros) + (in.one_in(8) ? 1U : 0U),
                                  .epoch = in.one_in(32) ? 77U : it.number,
                                  .received = it.last_posted,
                                  .index = index,
                                  .transfer = id,
                                  .offset = index * 65536U};
  if (it.one_sided) return with.under_test.slice_landed(on, header);
  with.under_test.slice_began(on, header);
  it.slice_left = header.body_length;
  go_on(with, on);
}

void hear_message(world& with) {
  auto& in = with.in;
  constexpr wire::frame_type types[] = {wire::frame_type::request,     wire::frame_type::grant,
                                        wire::frame_type::response,    wire::frame_type::progress,
                                        wire::frame_type::cancel,      wire::frame_type::channel_fenced,
                                        wire::frame_type::acknowledge, wire::frame_type::marker};
  const auto on = in.one_in(8) ? places_here[1 + in.below(3)] : places_here[0];
  auto& it = with.of(on);
  if (!it.open) return;
  if (it.slice_left > 0) return go_on(with, on);
  const auto type = types[in.below(std::size(types))];
  const auto body = body_of(with, type);
  wire::frame_header header{.type = type,
                            .flags = body.empty() ? std::uint16_t{0} : wire::flag_body_crc,
                            .body_length = static_cast<std::uint32_t>(body.size()),
                            .body_crc = crc32c(body) + (in.one_in(16) ? 1U : 0U),
                            .epoch = in.one_in(32) ? 77U : it.number,
                            .received = in.one_in(32) ? in.number<std::uint32_t>() : it.last_posted,
                            .index = static_cast<std::uint32_t>(in.below(4 * lane_count + 1)),
                            .transfer = some_id(with),
                            .argument = in.number<std::uint16_t>(),
                            .code = in.number<std::uint16_t>()};
  if (wire::is_numbered(type)) header.number = in.one_in(32) ? in.number<std::uint32_t>() : ++with.heard;
  with.under_test.frame_arrived(on, header, body);
}

void event(world& with) {
  auto& in = with.in;
  const auto on = places_here[in.below(std::size(places_here))];
  switch (in.below(16)) {
    case 0:
    case 1: begin_mine(with); break;
    case 2:
      if (!with.mine.empty()) with.under_test.cancel(with.mine[in.below(with.mine.size())]);
      break;
    case 3:
    case 4: answer(with); break;
    case 5:
      if (with.wanted[on] || in.one_in(4)) with.up(on);
      break;
    case 6: with.down(on); break;
    case 7:
    case 8: with.transmit(on); break;
    case 9:
      with.now += std::chrono::milliseconds(in.number<std::uint8_t>());
      with.under_test.advance(with.now);
      with.under_test.tick();
      break;
    case 10:
      with.of(on).room = !with.of(on).room;
      if (with.of(on).room && with.of(on).open) with.under_test.writable(on);
      break;
    case 11:
    case 12: hear_slice(with); break;
    default: hear_message(with); break;
  }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  world with(in, in.below(2) == 1);
  with.under_test.advance(with.now);
  for (const auto at : places_here) with.up(at);
  while (in.any_left() && !with.broken) {
    event(with);
    with.settle();
  }
  for (const auto at : places_here) with.down(at);
  with.under_test.fail_all(error(errc::closed));
  const auto& counted = with.under_test.counters();
  require(counted.operations_begun == counted.operations_ended, "nothing outlives the link");
  require(with.completions == with.owners, "every owner hears of the end");
  return 0;
}

} // namespace weft::fuzz
