// Reading, listing and verifying what is stored.
#include "store_fixture.hpp"

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(store_fixture, "any range is read as it was put, and none outside the shard") {
  const auto data = random_bytes(2 * block_size + 99, 1);
  REQUIRE(put("a", version_1, data));
  const auto shard = store->open_shard("a").value();
  for (const auto& [offset, length] : std::vector<std::pair<std::size_t, std::size_t>>{
           {0, 1}, {1, block_size}, {block_size - 1, 2}, {2 * block_size, 99}, {data.size(), 0}, {0, data.size()}}) {
    bytes seen(length);
    REQUIRE(shard->read(offset, seen));
    CHECK(std::equal(seen.begin(), seen.end(), data.begin() + static_cast<std::ptrdiff_t>(offset)));
  }
  bytes seen(100);
  CHECK(shard->read(2 * block_size, seen).error() == errc::invalid_argument);
  CHECK(shard->read(~0ull, seen).error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(store_fixture, "what is not there and what cannot be a name are told apart") {
  CHECK(store->stat("a").error() == errc::not_found);
  CHECK(store->stat("a").error().where() == "shard a");
  CHECK(store->open_shard("a").error() == errc::not_found);
  CHECK(store->stat("../a").error() == errc::invalid_name);
  CHECK(store->open_shard("").error() == errc::invalid_name);
  CHECK(store->begin_put("a/../b", version_1, 1).error() == errc::invalid_name);
}

TEST_CASE_FIXTURE(store_fixture, "an open shard is opened once, and only a bounded number stays open") {
  const auto data = random_bytes(10, 2);
  const auto shards = file_store::most_open_shards + 20;
  for (std::size_t i = 0; i < shards; ++i) {
    REQUIRE(put("shard-" + std::to_string(i), version_1, data));
  }
  const auto idle = calls.open_descriptors();
  for (std::size_t i = 0; i < shards; ++i) {
    REQUIRE(store->open_shard("shard-" + std::to_string(i)));
  }
  CHECK(calls.open_descriptors() == idle + file_store::most_open_shards);
  const auto recent = store->open_shard("shard-100").value();
  CHECK(store->open_shard("shard-100").value() == recent);
  for (std::size_t i = 0; i < shards; ++i) {
    REQUIRE(store->open_shard("shard-100").value() == recent);
    REQUIRE(store->open_shard("shard-" + std::to_string(i)));
  }
}

TEST_CASE_FIXTURE(store_fixture, "a listing is paged in byte order over restarts") {
  for (const auto* name : {"b/2", "b/1", "a", "c", "b/10"}) {
    REQUIRE(put(name, version_1, random_bytes(5, 3)));
  }
  reopen();
  CHECK(store->size() == 5);
  const auto first = store->list("b/", "", 2);
  REQUIRE(first.shards.size() == 2);
  CHECK(first.more);
  CHECK(first.shards[0] == shard_info{"b/1", version_1, 5});
  CHECK(first.shards[1].name == "b/10");
  const auto rest = store->list("b/", first.shards.back().name, 2);
  REQUIRE(rest.shards.size() == 1);
  CHECK(rest.shards[0].name == "b/2");
  CHECK_FALSE(rest.more);
}

TEST_CASE_FIXTURE(store_fixture, "verify finds every rotten block and no other") {
  const auto data = random_bytes(5 * block_size + 10, 4);
  REQUIRE(put("a", version_1, data));
  CHECK(verified("a").bad().empty());
  damage("data/a." + version_1_text, 0);
  damage("data/a." + version_1_text, 3 * block_size - 1);
  damage("data/a." + version_1_text, 5 * block_size + 9);
  auto report = verified("a");
  CHECK(report.blocks() == 6);
  CHECK(report.bad() == std::vector<std::uint64_t>{0, 2, 5});
}

TEST_CASE_FIXTURE(store_fixture, "verify tells the version that it read, though another is put meanwhile") {
  REQUIRE(put("a", version_1, random_bytes(3 * block_size, 4)));
  verification report(store->open_shard("a").value());
  CHECK(report.check(1));
  REQUIRE(put("a", version_2, random_bytes(block_size, 5)));
  CHECK(report.progress() == "shard a: 1 of 3 blocks were checked");
  CHECK_FALSE(report.check(100));
  CHECK(report.of().version == version_1);
  CHECK(report.bad().empty());
  CHECK(verified("a").of().version == version_2);
}

TEST_CASE_FIXTURE(store_fixture, "verify counts blocks that the device does not give") {
  REQUIRE(put("a", version_1, random_bytes(2 * block_size, 5)));
  REQUIRE(store->open_shard("a"));
  calls.fail("pread", EIO, "data/");
  CHECK(verified("a").bad() == std::vector<std::uint64_t>{0, 1});
}

TEST_CASE_FIXTURE(store_fixture, "a data file that is missing or of another length is an io_error naming the shard") {
  const auto data = random_bytes(2 * block_size, 6);
  REQUIRE(put("a", version_1, data));
  const auto path = folder / "store" / "data" / ("a." + version_1_text);
  std::filesystem::resize_file(path, block_size);
  const auto opened = store->open_shard("a");
  CHECK(opened.error() == errc::io_error);
  CHECK(opened.error().where() == "shard a: the data file has 65536 of 131072 bytes");
  std::filesystem::remove(path);
  CHECK(store->open_shard("a").error() == errc::io_error);
  REQUIRE(put("a", version_1, data));
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "a shard cut short while it is open is an io_error with the offset") {
  REQUIRE(put("a", version_1, random_bytes(2 * block_size, 7)));
  const auto shard = store->open_shard("a").value();
  std::filesystem::resize_file(folder / "store" / "data" / ("a." + version_1_text), block_size + 1);
  bytes seen(block_size);
  const auto read = shard->read(block_size, seen);
  CHECK(read.error() == errc::io_error);
  CHECK(read.error().where() == "shard a: read at 65537: the file ends 65535 bytes early");
}

} // namespace
} // namespace weft::test
