// The table as text: every row can be read, set, and set only within its range.
#include "base/tunables.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace weft::literals;
using namespace std::chrono_literals;
using weft::errc;
using weft::tunables;

namespace {

std::string failure(std::string_view name, std::string_view text) {
  tunables values;
  const auto done = set_tunable(values, name, text);
  REQUIRE(done.has_error());
  CHECK(done.error() == errc::invalid_config);
  return done.error().where();
}

} // namespace

TEST_CASE("every row has its texts, and its default is what the struct has") {
  const tunables defaults;
  std::set<std::string_view> names;
  for (const auto& row : weft::tunable_rows()) {
    CAPTURE(row.name);
    CHECK(names.insert(row.name).second);
    CHECK(format_tunable(defaults, row.name).value() == row.default_value);
    CHECK_FALSE(row.range.empty());
    CHECK_FALSE(row.doc.empty());
  }
  CHECK(names.size() >= 28);
}

TEST_CASE("every row accepts its default and both ends of its range, and gives them back") {
  for (const auto& row : weft::tunable_rows()) {
    CAPTURE(row.name);
    tunables values;
    const auto dots = row.range.find("..");
    const bool is_choice = dots == std::string::npos;
    const auto least = row.range.substr(0, is_choice ? row.range.find('|') : dots);
    const auto most = row.range.substr(is_choice ? row.range.rfind('|') + 1 : dots + 2);
    for (const std::string& text : {row.default_value, least, most}) {
      CAPTURE(text);
      CHECK(set_tunable(values, row.name, text).has_value());
      CHECK(format_tunable(values, row.name).value() == text);
    }
  }
}

TEST_CASE("a value of each type is set from text") {
  tunables values;
  CHECK(set_tunable(values, "slice.size", "1M").has_value());
  CHECK(set_tunable(values, "fence.timeout", "0.2s").has_value());
  CHECK(set_tunable(values, "shard.threads", "16").has_value());
  CHECK(set_tunable(values, "verify", "wire").has_value());
  CHECK(set_tunable(values, "log.level", "trace").has_value());
  CHECK(values.slice_size == 1_MiB);
  CHECK(values.fence_timeout == 200ms);
  CHECK(values.shard_threads == 16);
  CHECK(values.verify == weft::verify_mode::wire);
  CHECK(values.log_level == weft::log_level::trace);
}

TEST_CASE("a bad value says what is allowed and changes nothing") {
  CHECK(failure("slice.size", "2MiB") == "slice.size: 2MiB is out of range (allowed: 64KiB..1MiB)");
  CHECK(failure("slice.size", "many") == "slice.size: \"many\" is not a number of bytes (allowed: 64KiB..1MiB)");
  CHECK(failure("fence.timeout", "50").find("is not a time with a unit") != std::string::npos);
  CHECK(failure("shard.threads", "0") == "shard.threads: 0 is out of range (allowed: 1..256)");
  CHECK(failure("shard.threads", "-1").find("whole number") != std::string::npos);
  CHECK(failure("shard.threads", "4294967297").find("whole number") != std::string::npos);
  CHECK(failure("shard.threads", "2 ").find("whole number") != std::string::npos);
  CHECK(failure("shard.threads", "").find("whole number") != std::string::npos);
  CHECK(failure("verify", "none") == "verify: \"none\" is none of the choices (allowed: slice|wire)");
  CHECK(failure("log.level", "loud").find("trace|debug|info|warning|error|off") != std::string::npos);

  tunables values;
  (void)set_tunable(values, "slice.size", "2MiB");
  CHECK(values.slice_size == 256_KiB);
}

TEST_CASE("an unknown name is an error for setting and for asking") {
  CHECK(failure("slice.sise", "64KiB") == "no setting named \"slice.sise\"");
  CHECK(format_tunable(tunables{}, "slice.sise").has_error());
}

TEST_CASE("values that contradict each other are found, by name and value") {
  const auto rate = [](std::uint64_t bytes) { return weft::rail_rate(weft::bytes_per_second(bytes)); };
  const auto reason = [](auto change) {
    tunables values;
    change(values);
    const auto good = validate(values);
    return good ? std::string{} : good.error().where();
  };
  CHECK(reason([](tunables&) {}).empty());
  CHECK(reason([](tunables& t) { t.slice_size = 100_KiB; }) == "slice.size (100KiB) must be a multiple of 64KiB");
  CHECK(reason([](tunables& t) { t.shard_chunk = 65_KiB; }) == "shard.chunk (65KiB) must be a multiple of 64KiB");
  CHECK(reason([](tunables& t) {
          t.slice_size = 1_MiB;
          t.transfer_window = 256_KiB;
        }) == "slice.size (1MiB) must not exceed transfer.window (256KiB)");
  CHECK(reason([](tunables& t) { t.redial_min = 2s; }) == "redial.min (2s) must not exceed redial.max (1s)");
  CHECK(reason([](tunables& t) { t.shard_window = 64_KiB; }) ==
        "shard.chunk (1MiB) must not exceed shard.window (64KiB)");
  CHECK(reason([](tunables& t) {
          t.shard_chunk = 8_MiB;
          t.pool_bytes = 4_MiB;
        }) == "shard.chunk (8MiB) must not exceed half of pool.bytes (4MiB)");
  CHECK(reason([&](tunables& t) { t.lane_bulk_reservation = rate(5'000'000); }).empty());
  CHECK(reason([&](tunables& t) {
          t.lane_bulk_reservation = rate(5'000'000);
          t.lane_bulk_limit = rate(4'000'000);
        }) == "lane.bulk.reservation (5MB/s) must not exceed lane.bulk.limit (4MB/s)");
  CHECK(reason([&](tunables& t) { t.lane_bulk_limit = rate(100); }) ==
        "lane.bulk.limit (100B/s) must be 0 or at least 1MB/s");
  const auto part = [](std::uint32_t percent) { return weft::rail_rate::of_rail(percent * 100); };
  CHECK(reason([&](tunables& t) {
          t.lane_bulk_reservation = part(5);
          t.lane_bulk_limit = part(4);
        }) == "lane.bulk.reservation (5%) must not exceed lane.bulk.limit (4%)");
  CHECK(reason([&](tunables& t) {
          t.lane_bulk_reservation = part(60);
          t.lane_standard_reservation = part(41);
        }) == "lane.*.reservation: together 101% of a rail");
  CHECK(reason([&](tunables& t) {
          t.rail_rate = weft::bytes_per_second(1'000'000'000);
          t.lane_bulk_reservation = part(60);
          t.lane_standard_reservation = rate(401'000'000);
        }) == "lane.*.reservation: together 1001MB/s, and rail by rail.rate carries 1GB/s");
  CHECK(reason([&](tunables& t) {
          t.rail_rate = weft::bytes_per_second(1'000'000'000);
          t.lane_bulk_reservation = part(60);
          t.lane_bulk_limit = rate(599'000'000);
        }) == "lane.bulk.reservation (60%) must not exceed lane.bulk.limit (599MB/s) on rail by rail.rate");
  CHECK(reason([&](tunables& t) {
          t.rail_rate = weft::bytes_per_second(90'000'000);
          t.lane_bulk_limit = part(1);
        }) == "lane.bulk.limit (1%): 900kB/s on rail by rail.rate, which must be at least 1MB/s");
}

TEST_CASE("percent of a rail needs to know what that carries") {
  tunables values;
  values.lane_bulk_limit = weft::rail_rate::of_rail(1250);
  CHECK(validate_on(values, "eth0", {}).error().where() ==
        "lane.bulk.limit (12.5%): what rail eth0 carries is not known: set rail.rate, or a rate in place of percent");
  CHECK(validate_on(values, "eth0", weft::bytes_per_second(8'000'000)).has_value());
  CHECK(values.lane_bulk_limit.on(weft::bytes_per_second(8'000'000)) == 1'000'000);
  CHECK(carried(values, weft::bytes_per_second(7)).value() == 7);
  values.rail_rate = weft::bytes_per_second(9);
  CHECK(carried(values, weft::bytes_per_second(7)).value() == 9);
  for (const char* text : {"20%", "0.01%", "12.5%", "100%", "250MB/s", "0"}) {
    CAPTURE(text);
    CHECK(set_tunable(values, "lane.bulk.limit", text).has_value());
    CHECK(format_tunable(values, "lane.bulk.limit").value() == text);
  }
  for (const char* text : {"%", "0%", "0.001%", "100.01%", "-5%", "5 %", "5%%", "1e1%", "nan%", "12.345%"}) {
    CAPTURE(text);
    CHECK_FALSE(set_tunable(values, "lane.bulk.limit", text).has_value());
  }
}
