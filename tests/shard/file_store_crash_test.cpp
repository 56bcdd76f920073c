// The store over a disk that loses or reorders all that was not synced: after a crash at any step of a put or a removal
// the old or the new version is there, whole, and what was acknowledged stays. Without any one of the fsyncs it would
// not.
#include "crash_disk.hpp"
#include "store_fixture.hpp"

#include "base/random.hpp"

namespace weft::test {
namespace {

constexpr std::size_t none_missing = SIZE_MAX;

struct crash_fixture {
  /// What is there after the first `done` of the calls of the scenario: an index of `contents`, or nothing.
  struct moment {
    std::size_t steps; ///< of the disk, when the call was acknowledged
    std::optional<id128> version;
  };

  crash_fixture() {
    store = file_store::open("/store", disk).value();
    put(version_of(1), contents[0]);
    disk.start_record();
    moments.push_back({0, version_of(1)});
    put(version_of(2), contents[1]);
    moments.push_back({disk.steps(), version_of(2)});
    put(version_of(3), contents[2]);
    moments.push_back({disk.steps(), version_of(3)});
    REQUIRE(store->remove("a"));
    moments.push_back({disk.steps(), std::nullopt});
  }

  static id128 version_of(std::uint64_t number) { return {number, number}; }

  void put(const id128& version, const bytes& data) {
    auto begun = store->begin_put("a", version, data.size()).value();
    REQUIRE(begun->write(0, data, block_crcs(data)));
    REQUIRE(begun->commit());
  }

  /// Whether the promise holds on a disk after a crash: the last acknowledged moment, or the one under way.
  [[nodiscard]] bool keeps_promise(crash_disk& after, std::size_t steps) const {
    std::size_t acknowledged = 0;
    while (acknowledged + 1 < moments.size() && moments[acknowledged + 1].steps <= steps) ++acknowledged;
    auto opened = file_store::open("/store", after);
    if (!opened) return false;
    const auto found = (*opened)->stat("a");
    std::optional<id128> version;
    if (found) {
      version = found->version;
    } else if (found.error() != errc::not_found) {
      return false;
    }
    const bool under_way = acknowledged + 1 < moments.size() && moments[acknowledged].steps < steps;
    const bool allowed =
        version == moments[acknowledged].version || (under_way && version == moments[acknowledged + 1].version);
    if (!allowed) return false;
    if (!version) return after.files("/store/data").empty();
    const auto& expected = contents[static_cast<std::size_t>(version->high) - 1];
    const auto shard = (*opened)->open_shard("a");
    if (!shard || (*shard)->manifest().size != expected.size()) return false;
    bytes got(expected.size());
    return (*shard)->read(0, got) && got == expected && after.files("/store/data").size() == 1 &&
           after.files("/store/incoming").empty();
  }

  /// Crashes behind each step, with each of: all kept, nothing, all but one, only one, and some at random. Returns how
  /// many of these broke the promise.
  [[nodiscard]] std::size_t broken(std::size_t missing) const {
    std::size_t count = 0;
    random_source random{7};
    for (std::size_t steps = 0; steps <= disk.steps(); ++steps) {
      const auto loose = disk.loose(steps, missing);
      const auto crash = [&](const crash_disk::keeps& kept) {
        const auto after = disk.crashed(steps, missing, kept);
        count += keeps_promise(*after, steps) ? 0 : 1;
      };
      crash([](std::size_t) { return true; });
      crash([](std::size_t) { return false; });
      for (const auto chosen : loose) {
        crash([chosen](std::size_t change) { return change == chosen; });
        crash([chosen](std::size_t change) { return change != chosen; });
      }
      for (int i = 0; i < 20; ++i) crash([&random](std::size_t) { return random.chance(0.5); });
    }
    return count;
  }

  const std::vector<bytes> contents = {random_bytes(block_size + 1, 1), random_bytes(3 * block_size, 2),
                                       random_bytes(2 * block_size + 5, 3)};
  crash_disk disk;
  std::unique_ptr<file_store> store;
  std::vector<moment> moments;
};

TEST_CASE_FIXTURE(crash_fixture, "whatever a crash loses or reorders, one version is there, whole") {
  CHECK(disk.steps() > 20);
  CHECK(broken(none_missing) == 0);
}

/// Opens the store in `folder`, puts a shard, and crashes: whether the store is there again, with it.
bool keeps_first_shard(crash_disk& disk, const char* folder) {
  const auto data = random_bytes(100, 1);
  {
    const auto store = file_store::open(folder, disk).value();
    auto begun = store->begin_put("a", {1, 1}, data.size()).value();
    REQUIRE(begun->write(0, data, block_crcs(data)));
    REQUIRE(begun->commit());
  }
  const auto after = disk.crashed(disk.steps(), none_missing, [](std::size_t) { return false; });
  const auto again = file_store::open("/store", *after);
  return again && (*again)->stat("a");
}

TEST_CASE("a new store survives a crash with the first shard in it, however its folder was written") {
  for (const auto* folder : {"/store", "/store/"}) {
    CAPTURE(folder);
    crash_disk disk;
    disk.start_record();
    CHECK(keeps_first_shard(disk, folder));
  }
}

TEST_CASE("a store whose first process was killed before it was whole is made whole by the next") {
  for (std::size_t made = 1; made <= 5; ++made) {
    CAPTURE(made);
    crash_disk disk;
    disk.start_record();
    const auto steps = {"/store", "/store/weft-store", "/store/incoming", "/store/data", "/store/manifests"};
    for (const auto* path : std::span(steps).first(made)) {
      if (std::string_view(path).ends_with("weft-store")) {
        REQUIRE(disk.open(path, O_RDWR | O_CREAT) >= 0);
      } else {
        REQUIRE(disk.mkdir(path) == 0);
      }
    }
    CHECK(keeps_first_shard(disk, "/store"));
  }
}

TEST_CASE("a folder that was taken out of a store is made anew for good") {
  crash_disk disk;
  std::ignore = file_store::open("/store", disk).value();
  REQUIRE(disk.unlink("/store/manifests") == 0);
  disk.start_record();
  CHECK(keeps_first_shard(disk, "/store"));
}

TEST_CASE_FIXTURE(crash_fixture, "no fsync can be left out") {
  const auto syncs = disk.syncs();
  CHECK(syncs.size() == 9); // four for each put, one for the removal
  for (const auto missing : syncs) {
    CAPTURE(disk.text_of(missing));
    CHECK(broken(missing) > 0);
  }
}

} // namespace
} // namespace weft::test
