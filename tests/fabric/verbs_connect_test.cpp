#include "path/verbs/connect.hpp"

#include <doctest/doctest.h>

using namespace weft;
using namespace weft::path::verbs;

namespace {

const greeting said{
    .session = {0x0102030405060708, 0x1112131415161718}, .at = lane::bulk, .rail = 1, .epoch = 7, .credits = 9};
constexpr std::size_t used = 30; ///< bytes of the private data that say something

} // namespace

TEST_CASE("a greeting comes out of the private data as it went in") {
  CHECK(decode_greeting(encode(said)).value() == said);
}

TEST_CASE("a greeting that is cut anywhere is refused by name") {
  const auto whole = encode(said);
  for (std::size_t length = 0; length < used; ++length) {
    const auto read = decode_greeting(std::span(whole).first(length));
    REQUIRE(read.has_error());
    CHECK(read.error() == (length < 4 ? errc::not_weft : length < 5 ? errc::version_mismatch : errc::protocol_error));
  }
  CHECK(decode_greeting(std::span(whole).first(used)).has_value());
}

TEST_CASE("private data of something else, of another version, or out of range is refused by name") {
  const auto with = [](std::size_t at, int value) {
    auto data = encode(said);
    data[at] = static_cast<std::byte>(value);
    return decode_greeting(data);
  };
  CHECK(with(0, 'X').error() == errc::not_weft);
  CHECK(with(4, 0).error() == errc::version_mismatch);
  CHECK(with(4, 255).error() == errc::version_mismatch);
  CHECK(with(5, lane_count).error() == errc::protocol_error);
  CHECK(with(24, 0).error() == errc::protocol_error); // epoch 0
  CHECK(with(28, queues::least_credits - 1).error() == errc::protocol_error);
  CHECK(decode_greeting(private_data{}).error() == errc::not_weft);
}
