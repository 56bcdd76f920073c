// An engine of the standard and the bulk lane, and a peer that a test plays frame by frame.
#pragma once

#include "../lane/by_weight.hpp"
#include "base/crc32c.hpp"
#include "link/engine.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft::links {

using namespace std::chrono_literals;
using wire::frame_type;

inline constexpr std::uint64_t theirs = (std::uint64_t{1} << 63) | 1; // the peer accepted the link
inline constexpr lane lanes_here[] = {lane::standard, lane::bulk};

struct fake_channel final : path::channel {
  [[nodiscard]] path::capabilities can() const noexcept override { return {.one_sided = one_sided}; }
  [[nodiscard]] std::uint32_t epoch() const noexcept override { return epoch_; }
  [[nodiscard]] bool post_message(const wire::frame_header& header, std::span<const std::byte> body) override {
    if (full) return false;
    messages.push_back(header);
    bodies.emplace_back(body.begin(), body.end());
    return true;
  }
  [[nodiscard]] bool takes_slices() const noexcept override { return true; }
  void post_slice(const wire::frame_header& header, path::slice_part part, const memory::piece_list&,
                  const memory::granted_list&) override {
    if (part.from == 0) slices.push_back(header);
    parts.push_back({header, part});
  }
  [[nodiscard]] bool close() override { return true; }
  void flush() override { ++flushes; }

  [[nodiscard]] std::vector<wire::frame_header> of(frame_type type) const {
    std::vector<wire::frame_header> found;
    std::copy_if(messages.begin(), messages.end(), std::back_inserter(found),
                 [type](auto& one) { return one.type == type; });
    return found;
  }

  std::uint32_t epoch_ = 1;
  bool one_sided = false;
  bool full = false; ///< for messages
  int flushes = 0;
  std::vector<wire::frame_header> messages;
  std::vector<std::vector<std::byte>> bodies;
  std::vector<wire::frame_header> slices;
  struct posted_part {
    wire::frame_header header;
    path::slice_part part;
  };
  std::vector<posted_part> parts;
};

struct slot final : completion {
  explicit slot(std::optional<outcome>& to) : into(to) {}
  void complete(outcome&& ended) override {
    CHECK_FALSE(into.has_value());
    into = std::move(ended);
  }
  std::optional<outcome>& into;
};

struct bench : host {
  /// `budget`: bytes of slices that may be under way.
  explicit bench(std::uint64_t budget = lanes::scheduler::no_budget)
      : rail(lanes::by_weight({1, 1, 1, 1}), board, budget) {
    limits.slice_size = byte_count(65536);
    advance(0ms);
    engine_.channel_up(lane::standard, messages, rail);
    engine_.channel_up(lane::bulk, data, rail);
    settle();
  }

  void open_channel(wire::place) override { ++opens; }
  void close_channel(wire::place at) override { closed.push_back(at); }
  void operation_arrived(const incoming& begun) override {
    arrived = begun.id;
    deadline = begun.deadline;
  }
  void protocol_broken(const error& how) override { broken = how.where(); }

  void advance(duration by) {
    now += by;
    engine_.advance(now);
    engine_.tick();
    settle();
  }
  void settle() {
    engine_.flush();
    rail.advance(now);
    rail.run(1 << 30);
    engine_.flush_channels();
  }
  /// The peer's next message.
  void hear(wire::frame_header header, std::vector<std::byte> body = {}) {
    header.number = ++heard;
    header.epoch = messages.epoch_;
    if (!body.empty()) {
      header.flags = wire::flag_body_crc;
      header.body_length = static_cast<std::uint32_t>(body.size());
      header.body_crc = crc32c(body);
    }
    engine_.frame_arrived(lane::standard, header, body);
    settle();
  }
  void hear_request(wire::operation_kind kind, std::uint64_t length) {
    std::vector<std::byte> body;
    wire::encode(
        wire::request{.kind = kind, .carries = lane::bulk, .slice_size = 65536, .length = length, .window = 1 << 20},
        body);
    hear({.type = frame_type::request, .transfer = theirs}, body);
  }
  void hear_progress(std::uint64_t transfer, std::vector<wire::slice_range> ranges) {
    std::vector<std::byte> body;
    wire::encode(std::span<const wire::slice_range>(ranges), body);
    hear({.type = frame_type::progress, .transfer = transfer}, body);
  }
  /// A part of a slice whose bytes are all the same as in `memory`; the checksum is that of the whole.
  void hear_part(std::uint64_t transfer, std::uint32_t index, path::slice_part part) {
    const wire::frame_header header{.type = frame_type::slice,
                                    .flags = wire::flag_body_crc,
                                    .body_length = part.length,
                                    .body_crc = crc32c(std::span(memory).subspan(index * 65536U, 65536)),
                                    .epoch = data.epoch_,
                                    .index = index,
                                    .transfer = transfer,
                                    .offset = index * 65536U + part.from};
    engine_.slice_began(lane::bulk, header);
    iovec space[4];
    wanted = engine_.slice_space(lane::bulk, space) > 0;
    engine_.slice_grew(lane::bulk, part.length);
    settle();
  }
  void hear_slice(std::uint64_t transfer, std::uint32_t index, bool damaged, std::uint32_t received = 0,
                  wire::place by = lane::bulk) {
    wire::frame_header header{.type = frame_type::slice,
                              .flags = wire::flag_body_crc,
                              .body_length = 65536,
                              .epoch = data.epoch_,
                              .received = received,
                              .index = index,
                              .transfer = transfer,
                              .offset = index * 65536U};
    header.body_crc = crc32c(std::span(memory).first(65536)) + (damaged ? 1 : 0);
    engine_.slice_began(by, header);
    iovec space[4];
    if (engine_.slice_space(by, space) > 0) engine_.slice_grew(by, 65536);
    settle();
  }
  operation_id begin(wire::operation_kind kind, std::uint64_t length, duration timeout = 1h) {
    operation_request asked;
    asked.kind = kind;
    asked.carries = lane::bulk;
    asked.pieces = pieces(length);
    asked.deadline = now + timeout;
    const auto id = engine_.start(std::move(asked), owner());
    settle();
    return id;
  }
  memory::piece_list pieces(std::uint64_t length) { return {std::span(memory).first(length), nullptr}; }
  [[nodiscard]] std::uint64_t outstanding() const {
    return engine_.counters().operations_begun - engine_.counters().operations_ended;
  }
  std::unique_ptr<completion> owner() { return std::make_unique<slot>(result); }

  tunables limits;
  lanes::host_board board;
  lanes::scheduler rail;
  std::vector<std::byte> memory = std::vector<std::byte>(1 << 20);
  fake_channel messages, data;
  time_point now = time_point{} + 1s;
  engine engine_{*this, limits, lanes_here, true};
  std::uint32_t heard = 0;
  bool wanted = false; ///< the part that was heard last
  int opens = 0;
  std::vector<wire::place> closed;
  operation_id arrived = 0;
  time_point deadline{};
  std::optional<std::string> broken;
  std::optional<outcome> result;
};

} // namespace weft::links
