#include "golden.hpp"

#include "base/crc32c.hpp"

#include <fstream>
#include <stdexcept>
#include <string_view>

namespace weft::wire::golden {
namespace {

constexpr id128 session{0x2122232425262728, 0x3132333435363738};
constexpr std::uint64_t theirs = (std::uint64_t{1} << 63) | 5;

std::vector<std::byte> bytes_of(std::string_view text) {
  const auto raw = std::as_bytes(std::span(text));
  return {raw.begin(), raw.end()};
}

template <class Value>
std::vector<std::byte> body_of(const Value& value, std::string_view payload = {}) {
  std::vector<std::byte> body;
  encode(value, body);
  writer(body).bytes(bytes_of(payload));
  return body;
}

std::vector<std::byte> response_body() {
  std::vector<std::byte> body;
  writer(body).text("shard a").bytes(bytes_of("done"));
  return body;
}

void complete(sample& one) {
  one.header.body_length = static_cast<std::uint32_t>(one.body.size());
  if ((one.header.flags & flag_body_crc) != 0) one.header.body_crc = crc32c(one.body);
}

std::vector<std::byte> counting(std::size_t count) {
  std::vector<std::byte> body(count);
  for (std::size_t i = 0; i < count; ++i) body[i] = static_cast<std::byte>(i);
  return body;
}

} // namespace

hello caller_hello() {
  return {"trainer-7", {0x0102030405060708, 0x1112131415161718}, session, 3, 5, 1};
}

hello answerer_hello() {
  return {"storage-1", {0x4142434445464748, 0x5152535455565758}, session, 3, 7, 0};
}

channel_hello data_hello() {
  return {session, lane::bulk, 9};
}

request write_request() {
  return {.service = 258,
          .kind = operation_kind::write,
          .carries = lane::bulk,
          .verify = verify_mode::slice,
          .slice_size = 65536,
          .length = 200000,
          .window = 8388608,
          .time_left_ns = 250000000};
}

std::vector<slice_range> some_ranges() {
  return {{0, 3, false}, {4, 1, true}};
}

std::vector<sample> samples() {
  using t = frame_type;
  const auto crc = flag_body_crc;
  std::vector<std::byte> ranges;
  encode(std::span<const slice_range>(some_ranges()), ranges);
  std::vector<sample> all = {
      {"hello", {.type = t::hello}, body_of(caller_hello())},
      {"hello_answer", {.type = t::hello_answer}, body_of(answerer_hello())},
      {"channel_hello", {.type = t::channel_hello}, body_of(data_hello())},
      {"channel_answer", {.type = t::channel_answer, .epoch = 9}, {}},
      {"refusal", {.type = t::refusal, .code = 406}, {}},
      {"ping", {.type = t::ping}, {}},
      {"pong", {.type = t::pong}, {}},
      {"channel_wanted", {.type = t::channel_wanted, .epoch = 4, .index = 2}, {}},
      {"channel_failed", {.type = t::channel_failed, .epoch = 4, .index = 3}, {}},
      {"goodbye", {.type = t::goodbye, .code = 203}, {}},
      {"request",
       {.type = t::request, .flags = crc, .epoch = 2, .number = 1, .received = 7, .transfer = 5},
       body_of(write_request(), "kv-pool")},
      {"grant",
       {.type = t::grant, .epoch = 2, .number = 2, .received = 8, .transfer = theirs, .argument = 8388608},
       {}},
      {"response",
       {.type = t::response,
        .flags = crc,
        .epoch = 2,
        .number = 3,
        .received = 9,
        .transfer = theirs,
        .argument = 1,
        .code = 601},
       response_body()},
      {"progress",
       {.type = t::progress, .flags = crc, .epoch = 2, .number = 4, .received = 10, .transfer = theirs},
       ranges},
      {"cancel", {.type = t::cancel, .epoch = 2, .number = 5, .received = 11, .transfer = 5, .code = 204}, {}},
      {"channel_fenced",
       {.type = t::channel_fenced, .epoch = 2, .number = 0xffffffff, .received = 12, .index = 2, .code = 6},
       {}},
      {"acknowledge", {.type = t::acknowledge, .epoch = 2, .received = 0xfffffff0}, {}},
      {"slice",
       {.type = t::slice, .flags = crc, .epoch = 6, .received = 13, .index = 3, .transfer = 5, .offset = 196608},
       counting(32)},
      {"slice_part",
       {.type = t::slice,
        .flags = crc | flag_tell,
        .epoch = 6,
        .received = 13,
        .index = 3,
        .transfer = 5,
        .offset = 196640},
       counting(16)},
      {"marker", {.type = t::marker, .epoch = 6, .received = 13, .transfer = 5}, {}},
      {"landed", {.type = t::landed, .epoch = 6, .argument = 77}, {}},
  };
  for (auto& one : all) complete(one);
  return all;
}

std::vector<std::byte> read(const std::string& name) {
  std::ifstream file(std::string(WEFT_GOLDEN_DIR "/v1/") + name + ".hex");
  if (!file) throw std::runtime_error("no golden file for " + name);
  std::string digits;
  for (std::string line; file >> line;) digits += line;
  std::vector<std::byte> bytes;
  for (std::size_t at = 0; at + 1 < digits.size(); at += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(digits.substr(at, 2), nullptr, 16)));
  }
  return bytes;
}

std::vector<std::byte> encoded(const sample& from) {
  std::vector<std::byte> bytes(header_size);
  encode(from.header, std::span<std::byte, header_size>(bytes));
  bytes.insert(bytes.end(), from.body.begin(), from.body.end());
  return bytes;
}

} // namespace weft::wire::golden
