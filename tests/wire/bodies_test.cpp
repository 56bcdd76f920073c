// Bodies are read as they were written, and nothing short, long or out of range is accepted.
#include "golden.hpp"
#include "ranges.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <map>

using namespace weft;
using namespace weft::wire;

namespace {

std::vector<std::byte> body_of(const std::string& name) {
  auto bytes = golden::read(name);
  bytes.erase(bytes.begin(), bytes.begin() + header_size);
  return bytes;
}

result<request> request_in(std::span<const std::byte> body) {
  reader in(body);
  return decode_request(in);
}

template <class Value>
std::vector<std::byte> encoding_of(const Value& value) {
  std::vector<std::byte> body;
  encode(value, body);
  return body;
}

bool begins_with(const std::vector<std::byte>& whole, const std::vector<std::byte>& front) {
  return front.size() <= whole.size() && std::equal(front.begin(), front.end(), whole.begin());
}

result<request> after_encoding(const request& value) {
  return request_in(encoding_of(value));
}

} // namespace

TEST_CASE("the golden bodies are read back as the values they were made of") {
  CHECK(decode_hello(body_of("hello")).value() == golden::caller_hello());
  CHECK(decode_hello(body_of("hello_answer")).value() == golden::answerer_hello());
  CHECK(decode_channel_hello(body_of("channel_hello")).value() == golden::data_hello());
  CHECK(request_in(body_of("request")).value() == golden::write_request());
  CHECK(ranges_of(body_of("progress")) == golden::some_ranges());
}

TEST_CASE("a request leaves its payload to be read") {
  const auto body = body_of("request");
  reader in(body);
  REQUIRE(decode_request(in).has_value());
  CHECK(in.left() == 7);
  CHECK(body.size() == request_fixed_size + 7);
}

TEST_CASE("a body cut off at any byte is refused, or holds fewer whole ranges") {
  const std::map<std::string, std::function<bool(std::span<const std::byte>)>> readers = {
      {"hello", [](auto body) { return decode_hello(body).has_value(); }},
      {"hello_answer", [](auto body) { return decode_hello(body).has_value(); }},
      {"channel_hello", [](auto body) { return decode_channel_hello(body).has_value(); }},
      {"request", [](auto body) { return body.size() >= request_fixed_size || request_in(body).has_value(); }},
      {"progress", [](auto body) { return body.size() % 8 == 0 || decode_ranges(body).has_value(); }},
  };
  for (const auto& one : readers) {
    const auto& name = one.first;
    CAPTURE(name);
    const auto body = body_of(name);
    for (std::size_t length = 0; length < body.size(); ++length) {
      const bool whole = (name == "request" && length >= request_fixed_size) || (name == "progress" && length % 8 == 0);
      if (one.second(std::span(body).first(length)) != whole) FAIL_CHECK("cut to " << length << " bytes");
    }
  }
}

TEST_CASE("a body without a checksum and with any one bit flipped is refused, or read as what it says") {
  const auto flipped_in = [](const std::string& name, const auto& decoded, const auto& original) {
    CAPTURE(name);
    auto body = body_of(name);
    for (std::size_t bit = 0; bit < body.size() * 8; ++bit) {
      body[bit / 8] ^= std::byte{1} << (bit % 8);
      const auto read = decoded(body);
      if (read && *read == original) FAIL_CHECK("bit " << bit << " made no difference");
      // What follows may be of a later version.
      if (read && !begins_with(body, encoding_of(*read))) FAIL_CHECK("bit " << bit << " was misread");
      if (!read && read.error() != errc::protocol_error) FAIL_CHECK("bit " << bit << ": " << read.error().message());
      body[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  };
  flipped_in("hello", decode_hello, golden::caller_hello());
  flipped_in("hello_answer", decode_hello, golden::answerer_hello());
  flipped_in("channel_hello", decode_channel_hello, golden::data_hello());
}

TEST_CASE("a hello may grow at its end") {
  auto body = body_of("hello");
  body.resize(body.size() + 20);
  CHECK(decode_hello(body).value() == golden::caller_hello());
}

TEST_CASE("the largest hello is half of what a greeting may have") {
  auto largest = golden::caller_hello();
  largest.name = std::string(longest_peer_name, 'n');
  largest.rails.resize(most_rail_addresses);
  std::vector<std::byte> body;
  encode(largest, body);
  CHECK(body.size() > 1024);
  CHECK(2 * body.size() <= largest_greeting);
  CHECK(decode_hello(body).value() == largest);
}

TEST_CASE("a hello needs a name, and not a longer one than allowed") {
  auto value = golden::caller_hello();
  std::vector<std::byte> body;
  value.name.clear();
  encode(value, body);
  CHECK(decode_hello(body).error() == errc::protocol_error);
  value.name.assign(longest_peer_name, 'n');
  body.clear();
  encode(value, body);
  CHECK(decode_hello(body).has_value());
  value.name += 'n';
  body.clear();
  encode(value, body);
  CHECK(decode_hello(body).error() == errc::protocol_error);
}

TEST_CASE("a channel hello needs a known lane and an epoch") {
  auto value = golden::data_hello();
  std::vector<std::byte> body;
  value.epoch = 0;
  encode(value, body);
  CHECK(decode_channel_hello(body).error() == errc::protocol_error);
  value = golden::data_hello();
  value.at = place::at(place_count);
  body.clear();
  encode(value, body);
  CHECK(decode_channel_hello(body).error() == errc::protocol_error);
}

TEST_CASE("a request of an unknown kind, lane or check is refused") {
  auto value = golden::write_request();
  value.kind = static_cast<operation_kind>(3);
  CHECK(after_encoding(value).error() == errc::protocol_error);
  value = golden::write_request();
  value.carries = static_cast<lane>(4);
  CHECK(after_encoding(value).error() == errc::protocol_error);
  value = golden::write_request();
  value.verify = static_cast<verify_mode>(2);
  CHECK(after_encoding(value).error() == errc::protocol_error);
}

TEST_CASE("the size of slices must suit the length") {
  auto value = golden::write_request();
  const auto accepted = [&value](std::uint64_t length, std::uint32_t slice) {
    value.length = length;
    value.slice_size = slice;
    return after_encoding(value).has_value();
  };
  CHECK(accepted(200000, smallest_slice));
  CHECK(accepted(200000, largest_slice));
  CHECK_FALSE(accepted(200000, largest_slice + 1));
  CHECK_FALSE(accepted(200000, smallest_slice - 1));
  CHECK(accepted(1, 1));
  CHECK(accepted(0, 1));
  CHECK_FALSE(accepted(0, 0));
  CHECK_FALSE(accepted(1, 0));
  CHECK(accepted(std::uint64_t{0x7fffffff} * smallest_slice, smallest_slice));
  CHECK_FALSE(accepted(std::uint64_t{0x7fffffff} * smallest_slice + 1, smallest_slice));
  CHECK_FALSE(accepted(~std::uint64_t{0}, largest_slice));
}

TEST_CASE("a plain request has no transfer") {
  request value{.service = 1, .kind = operation_kind::request, .carries = lane::realtime};
  CHECK(after_encoding(value).value() == value);
  value.length = 1;
  CHECK(after_encoding(value).error() == errc::protocol_error);
}

TEST_CASE("ranges are bounded in number and never empty") {
  std::vector<slice_range> ranges(most_ranges, slice_range{1, 1, false});
  std::vector<std::byte> body;
  encode(std::span<const slice_range>(ranges), body);
  CHECK(ranges_of(body) == ranges);
  body.resize(body.size() + 8, std::byte{1});
  CHECK(decode_ranges(body).error() == errc::protocol_error);
  CHECK(decode_ranges(std::vector<std::byte>(8)).error() == errc::protocol_error);
}
