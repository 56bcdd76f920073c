// The file store over a disk that is full, broken or slow to finish a call, and over a process that dies at any step.
#include "store_fixture.hpp"

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(store_fixture, "whatever step a put dies at, the old or the new version is there after a restart") {
  const auto before = random_bytes(2 * block_size + 1, 1);
  const auto after = random_bytes(3 * block_size + 2, 2);
  REQUIRE(put("a", version_1, before));
  std::size_t survived = 0;
  for (std::size_t steps = 0; survived == 0; ++steps) {
    REQUIRE_MESSAGE(steps < 100, "the put never finished");
    CAPTURE(steps);
    calls.die_after(steps);
    const bool acknowledged = put("a", version_2, after).has_value();
    const bool finished = !calls.dead();
    store.reset();
    calls.heal();
    reopen();
    const auto version = store->stat("a").value().version;
    CHECK(contents("a") == (version == version_1 ? before : after));
    if (acknowledged) CHECK(version == version_2);
    CHECK(verified("a").bad().empty());
    CHECK(files("incoming").empty());
    CHECK(files("manifests").size() == 1);
    CHECK(files("data") == std::vector<std::string>{"a." + to_string(version)});
    if (finished) survived = steps;
    REQUIRE(put("a", version_1, before));
  }
  CHECK(survived > 8);
}

TEST_CASE_FIXTURE(store_fixture,
                  "whatever step fails, the running store serves one version whole, and a repeat settles") {
  const auto before = random_bytes(block_size, 3);
  const auto after = random_bytes(2 * block_size, 4);
  struct fault {
    const char* call;
    const char* part;
  };
  for (const fault& at : {fault{"open", "incoming"}, fault{"allocate", ""}, fault{"pwrite", "incoming"},
                          fault{"fsync", "incoming"}, fault{"rename", "data/"}, fault{"fsync", "store/data"},
                          fault{"rename", "manifests/"}, fault{"fsync", "store/manifests"}}) {
    CAPTURE(at.call);
    CAPTURE(at.part);
    REQUIRE(put("a", version_1, before));
    calls.fail(at.call, EIO, at.part);
    const auto failed = put("a", version_2, after);
    REQUIRE_FALSE(failed);
    CHECK(failed.error() == errc::io_error);
    CHECK(failed.error().where().starts_with("shard a: "));
    CHECK(failed.error().where().ends_with("Input/output error"));
    const auto version = store->stat("a").value().version;
    CHECK(contents("a") == (version == version_1 ? before : after));
    CHECK(files("incoming").empty());
    calls.heal();
    REQUIRE(put("a", version_2, after));
    CHECK(contents("a") == after);
    reopen();
    CHECK(contents("a") == after);
    CHECK(files("data").size() == 1);
  }
}

TEST_CASE_FIXTURE(store_fixture, "until the new manifest is durable the old version's data is kept") {
  REQUIRE(put("a", version_1, random_bytes(10, 5)));
  calls.fail("fsync", EIO, "store/manifests");
  CHECK(put("a", version_2, random_bytes(10, 6)).error() == errc::io_error);
  CHECK(files("data").size() == 2);
  // Nor is a repeat called durable while that step fails.
  CHECK(put("a", version_2, random_bytes(10, 6)).error() == errc::io_error);
  calls.heal();
  CHECK(put("a", version_2, random_bytes(10, 6)));
}

TEST_CASE_FIXTURE(store_fixture, "a full disk is no_space at once, with nothing left behind") {
  calls.fail("allocate", ENOSPC);
  const auto begun = store->begin_put("a", version_1, 1 << 20);
  REQUIRE_FALSE(begun);
  CHECK(begun.error() == errc::no_space);
  CHECK(begun.error().where() == "shard a: allocate 1048576 bytes: No space left on device");
  CHECK(files("incoming").empty());
  calls.fail("allocate", EDQUOT);
  CHECK(store->begin_put("a", version_1, 1).error() == errc::no_space);
}

TEST_CASE_FIXTURE(store_fixture, "a disk that is full for the manifest leaves the old version") {
  const auto data = random_bytes(block_size, 7);
  REQUIRE(put("a", version_1, data));
  auto begun = store->begin_put("a", version_2, data.size());
  REQUIRE((*begun)->write(0, data, block_crcs(data)));
  calls.fail("pwrite", ENOSPC);
  CHECK((*begun)->commit().error() == errc::no_space);
  CHECK(store->stat("a").value().version == version_1);
  CHECK(contents("a") == data);
  CHECK(files("data").size() == 1);
}

TEST_CASE_FIXTURE(store_fixture, "a file system without fallocate is asked for its free space") {
  const auto data = random_bytes(block_size, 8);
  calls.fail("allocate", EOPNOTSUPP);
  calls.free_bytes = 1000;
  CHECK(put("a", version_1, data).error() == errc::no_space);
  CHECK(files("incoming").empty());
  calls.free_bytes = block_size;
  REQUIRE(put("a", version_1, data));
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "a size beyond every file is too_large") {
  CHECK(store->begin_put("a", version_1, ~0ull).error() == errc::too_large);
  calls.fail("allocate", EFBIG);
  CHECK(store->begin_put("a", version_1, 1ull << 60).error() == errc::too_large);
  CHECK(files("incoming").empty());
}

TEST_CASE_FIXTURE(store_fixture, "a disk that turned read-only is read_only") {
  REQUIRE(put("a", version_1, random_bytes(10, 9)));
  calls.fail("open", EROFS, "incoming");
  CHECK(store->begin_put("a", version_2, 10).error() == errc::read_only);
  CHECK(contents("a").size() == 10);
}

TEST_CASE_FIXTURE(store_fixture, "too few descriptors or rights have errors of their own") {
  calls.fail("open", EMFILE, "incoming");
  CHECK(store->begin_put("a", version_1, 1).error() == errc::too_many_files);
  calls.fail("open", EACCES, "incoming");
  CHECK(store->begin_put("a", version_1, 1).error() == errc::os_failure);
}

TEST_CASE_FIXTURE(store_fixture, "a device that cannot read answers io_error with shard and offset") {
  REQUIRE(put("a", version_1, random_bytes(block_size, 10)));
  const auto shard = store->open_shard("a").value();
  calls.fail("pread", EIO, "data/");
  bytes seen(10);
  const auto read = shard->read(100, seen);
  CHECK(read.error() == errc::io_error);
  CHECK(read.error().where() == "shard a: read at 100: Input/output error");
}

TEST_CASE_FIXTURE(store_fixture, "signals and calls that move only a part are unseen") {
  const auto data = random_bytes(2 * block_size + 3, 11);
  calls.interrupting = true;
  calls.longest_move = 1001;
  REQUIRE(put("a", version_1, data));
  CHECK(contents("a") == data);
  REQUIRE(put("a", version_2, data));
  reopen();
  CHECK(contents("a") == data);
  CHECK(files("data").size() == 1);
  CHECK(files("incoming").empty());
}

TEST_CASE_FIXTURE(store_fixture, "a write that never moves a byte ends as io_error") {
  calls.longest_move = 0;
  CHECK(put("a", version_1, random_bytes(10, 12)).error() == errc::io_error);
}

} // namespace
} // namespace weft::test
