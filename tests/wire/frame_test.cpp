// Frames on the wire are those of the golden files, and nothing else is taken for one.
#include "golden.hpp"

#include "base/crc32c.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace weft;
using namespace weft::wire;

namespace {

std::span<const std::byte, header_size> header_of(const std::vector<std::byte>& bytes) {
  return std::span<const std::byte>(bytes).first<header_size>();
}

} // namespace

TEST_CASE("every type is encoded as its golden file has it, and read back") {
  std::set<frame_type> seen;
  for (const auto& sample : golden::samples()) {
    CAPTURE(sample.name);
    const auto file = golden::read(sample.name);
    CHECK(golden::encoded(sample) == file);
    REQUIRE(file.size() == header_size + sample.body.size());
    const auto read = decode(header_of(file));
    REQUIRE(read.has_value());
    CHECK(*read == sample.header);
    seen.insert(sample.header.type);
  }
  CHECK(seen.size() == 20);
}

TEST_CASE("a header with any one bit flipped is refused") {
  for (const auto& sample : golden::samples()) {
    CAPTURE(sample.name);
    auto bytes = golden::read(sample.name);
    for (std::size_t bit = 0; bit < header_size * 8; ++bit) {
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
      const auto read = decode(header_of(bytes));
      if (read) FAIL_CHECK("bit " << bit << " was not noticed");
      if (!read && read.error() != (bit < 32 ? errc::not_weft : errc::protocol_error)) {
        FAIL_CHECK("bit " << bit << ": " << read.error().message());
      }
      bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
}

TEST_CASE("a body with any one bit flipped fails its checksum where the frame has one") {
  for (const auto& sample : golden::samples()) {
    if ((sample.header.flags & flag_body_crc) == 0) continue;
    CAPTURE(sample.name);
    auto body = sample.body;
    for (std::size_t bit = 0; bit < body.size() * 8; ++bit) {
      body[bit / 8] ^= std::byte{1} << (bit % 8);
      if (crc32c(body) == sample.header.body_crc) FAIL_CHECK("bit " << bit << " was not noticed");
      body[bit / 8] ^= std::byte{1} << (bit % 8);
    }
  }
}

TEST_CASE("what begins with other bytes does not speak the protocol") {
  std::vector<std::byte> bytes(header_size);
  CHECK(decode(header_of(bytes)).error() == errc::not_weft);
  const auto greeting =
      std::as_bytes(std::span("GET / HTTP/1.1\r\nHost: storage-1\r\nAccept: */*\r\nConnection: close\r\n\r\n"));
  bytes.assign(greeting.begin(), greeting.begin() + header_size);
  CHECK(decode(header_of(bytes)).error() == errc::not_weft);
}

namespace {

/// The golden ping with some bytes changed and the checksum made right again.
std::vector<std::byte> resealed(std::size_t at, std::uint32_t value, std::size_t size) {
  auto bytes = golden::read("ping");
  std::memcpy(bytes.data() + at, &value, size);
  const auto crc = crc32c(std::span(bytes).first(header_size - 4));
  std::memcpy(bytes.data() + header_size - 4, &crc, sizeof crc);
  return bytes;
}

} // namespace

TEST_CASE("a whole header of another version, type, flag or length is refused by name") {
  CHECK(decode(header_of(resealed(4, 2, 1))).error() == errc::version_mismatch);
  for (const auto type : {0U, 11U, 15U, 22U, 31U, 36U, 255U}) {
    CAPTURE(type);
    CHECK(decode(header_of(resealed(5, type, 1))).error() == errc::protocol_error);
  }
  CHECK(decode(header_of(resealed(6, 8, 2))).error() == errc::protocol_error);
  CHECK(decode(header_of(resealed(8, largest_message, 4))).has_value());
  CHECK(decode(header_of(resealed(8, largest_message + 1, 4))).error() == errc::protocol_error);
}

TEST_CASE("a slice may be as large as the largest slice and no larger") {
  frame_header header{.type = frame_type::slice, .body_length = largest_slice};
  std::vector<std::byte> bytes(header_size);
  encode(header, std::span<std::byte, header_size>(bytes));
  CHECK(decode(header_of(bytes)).has_value());
  header.body_length = largest_slice + 1;
  encode(header, std::span<std::byte, header_size>(bytes));
  CHECK(decode(header_of(bytes)).error() == errc::protocol_error);
}

TEST_CASE("only errors of the list come out of a peer's codes") {
  CHECK(reason_of(static_cast<std::uint32_t>(errc::not_found), errc::protocol_error) == errc::not_found);
  for (const std::uint32_t code : {0U, 1U, 99U, 113U, 499U, 703U, 0xffffffffU}) {
    CAPTURE(code);
    CHECK(reason_of(code, errc::protocol_error) == errc::protocol_error);
  }
}
