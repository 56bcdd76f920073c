// Quantities as people write them, there and back.
#include <weft/units.hpp>

#include <doctest/doctest.h>

#include <string>

using namespace weft::literals;
using namespace std::chrono_literals;
using weft::bytes_per_second;
using weft::errc;
using weft::format_rate;
using weft::parse_byte_count;
using weft::parse_duration;
using weft::parse_rate;

TEST_CASE("binary, decimal and bare suffixes of bytes") {
  CHECK(parse_byte_count("0").value() == 0_B);
  CHECK(parse_byte_count("4096").value() == 4096_B);
  CHECK(parse_byte_count("7B").value() == 7_B);
  CHECK(parse_byte_count("64KiB").value() == 64_KiB);
  CHECK(parse_byte_count("64 KiB").value() == 64_KiB);
  CHECK(parse_byte_count("4M").value() == 4_MiB);
  CHECK(parse_byte_count("4m").value() == 4_MiB);
  CHECK(parse_byte_count("2G").value() == 2_GiB);
  CHECK(parse_byte_count("1TiB").value() == 1_TiB);
  CHECK(parse_byte_count("1kB").value() == 1000_B);
  CHECK(parse_byte_count("1GB").value() == 1'000'000'000_B);
  CHECK(parse_byte_count("1.5KiB").value() == 1536_B);
  CHECK(parse_byte_count("0.25TB").value() == 250'000'000'000_B);
  CHECK(parse_byte_count("18446744073709551615").value().value() == UINT64_MAX);
}

TEST_CASE("what is no number of bytes is refused, with the text") {
  for (const char* text : {"", " ", "KiB", "-1", "+1", "1.", ".5K", "1.5", "0.3K", "1e6", "64kib", "1Kb", "1  K", "1K ",
                           " 1K", "1.0000001M", "0x10", "1KiB1"}) {
    CAPTURE(text);
    const auto parsed = parse_byte_count(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error() == errc::invalid_argument);
    CHECK(parsed.error().where().find(text) != std::string::npos);
  }
}

TEST_CASE("a number of bytes beyond 64 bits is too large") {
  for (const char* text : {"18446744073709551616", "99999999999999999999", "16777216TiB", "18446744073709551615.5K"}) {
    CAPTURE(text);
    const auto parsed = parse_byte_count(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error() == errc::too_large);
  }
}

TEST_CASE("bytes are written exactly, in the largest unit that divides them") {
  CHECK(to_string(0_B) == "0");
  CHECK(to_string(1000_B) == "1000B");
  CHECK(to_string(1024_B) == "1KiB");
  CHECK(to_string(1536_B) == "1536B");
  CHECK(to_string(1536_KiB) == "1536KiB");
  CHECK(to_string(2048_GiB) == "2TiB");
  for (const auto value : {0_B, 1_B, 1023_B, 64_KiB, 3_GiB + 1_B, 5_TiB}) {
    CHECK(parse_byte_count(to_string(value)).value() == value);
  }
}

TEST_CASE("byte counts calculate") {
  CHECK(1_MiB - 512_KiB == 512_KiB);
  CHECK((6_KiB).value() == 6144);
  CHECK(4_KiB * 3 == 12_KiB);
  CHECK(1_MiB / 64_KiB == 16);
  CHECK(1_MiB / 4 == 256_KiB);
  CHECK(100_KiB % 64_KiB == 36_KiB);
}

TEST_CASE("a rate is bytes over time") {
  CHECK(weft::bytes_per_second{1000_B, 1s}.value() == 1000);
  CHECK(weft::bytes_per_second{1_GiB, 500ms}.value() == (2_GiB).value());
  CHECK(weft::bytes_per_second{1_GiB, 0s}.value() == 0);
  CHECK(to_string(weft::bytes_per_second{12'345'678'901}) == "12.346 GB/s");
}

TEST_CASE("rates are read in bytes and in bits, with or without the second") {
  CHECK(parse_rate("250MB/s").value().value() == 250'000'000);
  CHECK(parse_rate("1GiB/s").value().value() == std::uint64_t{1} << 30);
  CHECK(parse_rate("2Gb/s").value().value() == 250'000'000);
  CHECK(parse_rate("1.5Gb").value().value() == 187'500'000);
  CHECK(parse_rate("8b").value().value() == 1);
  CHECK(parse_rate("0").value().value() == 0);
  for (const char* text : {"", "fast", "2Gbit", "/s", "-1MB/s", "250MB/h", "250mb/s"}) {
    CAPTURE(text);
    REQUIRE(parse_rate(text).has_error());
    CHECK(parse_rate(text).error() == errc::invalid_argument);
    CHECK(parse_rate(text).error().where().find(std::string("\"") + text + "\"") == 0);
  }
  CHECK(parse_rate("100b/s").error().where() == "\"100b/s\" is not a rate of whole bytes");
  CHECK(parse_rate("99999999999TB/s").error() == errc::too_large);
}

TEST_CASE("rates are written exactly and read back") {
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1500}, std::uint64_t{250'000'000}}) {
    CHECK(parse_rate(format_rate(bytes_per_second(value))).value().value() == value);
  }
  CHECK(format_rate(bytes_per_second(250'000'000)) == "250MB/s");
}

TEST_CASE("durations with each unit") {
  CHECK(parse_duration("0").value() == 0ns);
  CHECK(parse_duration("7ns").value() == 7ns);
  CHECK(parse_duration("250us").value() == 250us);
  CHECK(parse_duration("50ms").value() == 50ms);
  CHECK(parse_duration("1.5s").value() == 1500ms);
  CHECK(parse_duration("10 min").value() == 10min);
  CHECK(parse_duration("2h").value() == 2h);
}

TEST_CASE("a duration without its unit, or that is none, is refused") {
  for (const char* text : {"", "50", "1.5", "ms", "-1s", "1m", "1S", "1sec", "0.5ns", "1s "}) {
    CAPTURE(text);
    const auto parsed = parse_duration(text);
    REQUIRE(parsed.has_error());
    CHECK(parsed.error() == errc::invalid_argument);
  }
  for (const char* text : {"9223372036854775808ns", "3000000h", "99999999999999999999s"}) {
    CAPTURE(text);
    REQUIRE(parse_duration(text).has_error());
    CHECK(parse_duration(text).error() == errc::too_large);
  }
}

TEST_CASE("durations are written exactly and read back") {
  CHECK(weft::format_duration(0s) == "0s");
  CHECK(weft::format_duration(50ms) == "50ms");
  CHECK(weft::format_duration(1500ms) == "1500ms");
  CHECK(weft::format_duration(90s) == "90s");
  CHECK(weft::format_duration(120s) == "2min");
  CHECK(weft::format_duration(-5s) == "-5s");
  for (const std::chrono::nanoseconds value :
       {0ns, 1ns, std::chrono::nanoseconds{999999999}, std::chrono::nanoseconds{24h}}) {
    CHECK(parse_duration(weft::format_duration(value)).value() == value);
  }
}
