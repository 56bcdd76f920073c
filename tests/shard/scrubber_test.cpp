// The background check finds each bad block in every pass, harms nobody, and stops at once.
#include "shard/scrubber.hpp"
#include "store_fixture.hpp"

#include <condition_variable>
#include <set>

namespace weft::test {
namespace {

struct faults {
  auto teller() {
    return [this](const stored_fault& fault) {
      const std::scoped_lock lock{mutex};
      found.push_back(fault);
      changed.notify_all();
    };
  }
  /// Waits until there are so many.
  bool reach(std::size_t count) {
    std::unique_lock lock{mutex};
    return changed.wait_for(lock, std::chrono::seconds(60), [&] { return found.size() >= count; });
  }

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<stored_fault> found;
};

using namespace std::chrono_literals;

constexpr bytes_per_second fast{1'000'000'000};

void flip(const std::filesystem::path& path, std::uint64_t at) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const auto byte = static_cast<char>(file.get() ^ 1);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}

TEST_CASE_FIXTURE(store_fixture, "every bad block is told of once in each pass, and no good one") {
  REQUIRE(put("a", version_1, random_bytes(4 * block_size + 77, 1)));
  REQUIRE(put("b", version_1, random_bytes(10, 2)));
  REQUIRE(put("empty", version_1, {}));
  const auto data = folder / "store" / "data";
  flip(data / ("a." + to_string(version_1)), 2 * block_size + 5);
  flip(data / ("a." + to_string(version_1)), 4 * block_size + 76);
  flip(data / ("b." + to_string(version_1)), 0);
  faults seen;
  {
    shards::scrubber scrub(*store, fast, seen.teller(), 1ms);
    REQUIRE(seen.reach(6));
    CHECK(scrub.passes() >= 1);
    CHECK(scrub.bytes() >= 4 * block_size + 77 + 10);
  }
  std::multiset<std::string> places;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto& fault = seen.found[i];
    CHECK(fault.code == errc::checksum_mismatch);
    CHECK(fault.version == version_1);
    places.insert(fault.shard + std::to_string(fault.block));
  }
  CHECK(places == std::multiset<std::string>{"a2", "a2", "a4", "a4", "b0", "b0"});
}

TEST_CASE_FIXTURE(store_fixture, "a device that does not give a block is a fault too") {
  REQUIRE(put("a", version_1, random_bytes(2 * block_size, 1)));
  calls.fail("pread", EIO, "data/");
  faults seen;
  const shards::scrubber scrub(*store, fast, seen.teller(), 1ms);
  REQUIRE(seen.reach(2));
  CHECK(seen.found[0].code == errc::io_error);
  CHECK(seen.found[1].block == 1);
}

TEST_CASE_FIXTURE(store_fixture, "shards that come and go meanwhile are no faults") {
  faults seen;
  {
    shards::scrubber scrub(*store, fast, seen.teller(), duration::zero());
    for (std::uint64_t i = 0; i < 200 || scrub.passes() < 200; ++i) {
      REQUIRE(put("a", {i + 1, 0}, random_bytes(2 * block_size, i)));
      if (i % 3 == 0) REQUIRE(store->remove("a"));
    }
  }
  CHECK(seen.found.empty());
}

TEST_CASE_FIXTURE(store_fixture, "it stops though its next block is far away") {
  REQUIRE(put("a", version_1, random_bytes(2 * block_size, 1)));
  faults seen;
  shards::scrubber scrub(*store, bytes_per_second{1}, seen.teller(), 1ms); // the second block is due in 18 hours
}

} // namespace
} // namespace weft::test
