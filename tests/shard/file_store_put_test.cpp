// Puts as a client sees them: checked blocks, repeats, conflicts, replacement, and what the disk is asked to do for it.
#include "store_fixture.hpp"

#include <thread>

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(store_fixture, "a put shard is found, listed and read back, also after a restart") {
  const auto data = random_bytes(3 * block_size + 17, 1);
  REQUIRE(put("train/0.tar", version_1, data));
  for (int round = 0; round < 2; ++round) {
    CHECK(store->stat("train/0.tar").value() == shard_info{"train/0.tar", version_1, data.size()});
    CHECK(store->list("", "", 10).shards.size() == 1);
    CHECK(contents("train/0.tar") == data);
    reopen();
  }
}

TEST_CASE_FIXTURE(store_fixture, "shards of every ragged size, and the empty one, come back") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, block_size - 1, block_size, block_size + 1}) {
    const auto data = random_bytes(size, size);
    const auto name = "size-" + std::to_string(size);
    REQUIRE(put(name, version_1, data));
    reopen();
    CHECK(store->stat(name).value().size == size);
    CHECK(contents(name) == data);
  }
}

TEST_CASE_FIXTURE(store_fixture, "names too long for a file, or unusual in one, work as any other") {
  const auto data = random_bytes(100, 1);
  const std::string longest(1024, 'n');
  const std::string accents = "\xc3\xa9/%2F/50% \xf0\x9f\x98\x80";
  for (const auto& name : {longest, accents, std::string{"x."} + version_1_text}) {
    REQUIRE(put(name, version_1, data));
    REQUIRE(put(name, version_2, data));
    reopen();
    CHECK(contents(name) == data);
    CHECK(store->stat(name).value().version == version_2);
  }
  CHECK(files("data").size() == 3);
}

TEST_CASE_FIXTURE(store_fixture, "blocks may arrive in any order and from several threads") {
  const auto data = random_bytes(64 * block_size + 5, 2);
  const auto crcs = block_crcs(data);
  auto begun = store->begin_put("a", version_1, data.size());
  REQUIRE(begun);
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (std::size_t start = 0; start < 4; ++start) {
    threads.emplace_back([&, start] {
      for (std::size_t block = start; block < crcs.size(); block += 4) {
        const auto at = (crcs.size() - 1 - block) * block_size;
        const auto piece = std::span(data).subspan(at, std::min<std::size_t>(block_size, data.size() - at));
        if (!(*begun)->write(at, piece, std::span(crcs).subspan(at / block_size, 1))) ++failures;
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(failures == 0);
  REQUIRE((*begun)->commit());
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "a block that differs from its checksum is named, and not stored") {
  const auto data = random_bytes(4 * block_size, 3);
  auto crcs = block_crcs(data);
  auto begun = store->begin_put("a", version_1, data.size());
  REQUIRE(begun);
  crcs[3] ^= 1;
  const auto written = (*begun)->write(block_size, std::span(data).subspan(block_size), std::span(crcs).subspan(1));
  REQUIRE_FALSE(written);
  CHECK(written.error() == errc::checksum_mismatch);
  CHECK(written.error().where().starts_with("shard a: block 3 "));
  CHECK((*begun)->commit().error() == errc::invalid_argument);
  // The client sends it again, whole this time.
  REQUIRE((*begun)->write(0, data, block_crcs(data)));
  CHECK((*begun)->commit());
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "a put with missing blocks is not committed, and says which is missing") {
  const auto data = random_bytes(3 * block_size, 4);
  const auto crcs = block_crcs(data);
  auto begun = store->begin_put("a", version_1, data.size());
  REQUIRE((*begun)->write(0, std::span(data).first(block_size), std::span(crcs).first(1)));
  const auto committed = (*begun)->commit();
  CHECK(committed.error() == errc::invalid_argument);
  CHECK(committed.error().where() == "shard a: block 1 of 3 was not written");
  CHECK(store->stat("a").error() == errc::not_found);
}

TEST_CASE("which blocks have come is known whatever their order, and how many there will be costs nothing") {
  arrived_blocks known;
  constexpr std::uint64_t count = 2500;
  CHECK(known.first_gap(0) == 0);
  CHECK(known.first_gap(std::uint64_t{1} << 60) == 0);
  std::vector<std::uint32_t> crcs(count);
  for (std::size_t i = 0; i < count; ++i) crcs[i] = static_cast<std::uint32_t>(i * 7919);
  known.add(1100, std::span(crcs).subspan(1100, 1400));
  CHECK(known.first_gap(count) == 0);
  known.add(0, std::span(crcs).first(1000));
  CHECK(known.first_gap(count) == 1000);
  CHECK(known.first_gap(900) == 900);
  known.add(1000, std::span(crcs).subspan(1000, 99));
  CHECK(known.first_gap(count) == 1099);
  known.add(1099, std::span(crcs).subspan(1099, 1));
  CHECK(known.first_gap(count) == count);
  CHECK(known.first_gap(count + 1) == count);
  CHECK(known.crcs(count) == crcs);
}

TEST_CASE_FIXTURE(store_fixture, "ranges that are not whole blocks of the shard are refused") {
  const auto data = random_bytes(2 * block_size + 100, 5);
  const auto crcs = block_crcs(data);
  auto begun = store->begin_put("a", version_1, data.size());
  const auto refused = [&](std::uint64_t offset, std::size_t length, std::size_t claims) {
    const auto written = (*begun)->write(offset, std::span(data).first(length), std::span(crcs).first(claims));
    return !written && written.error() == errc::invalid_argument;
  };
  CHECK(refused(1, block_size, 1));
  CHECK(refused(0, block_size - 1, 1));
  CHECK(refused(0, block_size, 2));
  CHECK(refused(0, block_size, 0));
  CHECK(refused(2 * block_size, 101, 1));
  CHECK(refused(3 * block_size, 0, 0));
  CHECK(refused(~0ull - block_size + 1, block_size, 1));
}

TEST_CASE_FIXTURE(store_fixture, "a dropped put leaves nothing behind") {
  const auto data = random_bytes(2 * block_size, 6);
  {
    auto begun = store->begin_put("a", version_1, data.size());
    REQUIRE((*begun)->write(0, data, block_crcs(data)));
    CHECK(files("incoming").size() == 1);
  }
  CHECK(files("incoming").empty());
  CHECK(files("data").empty());
  CHECK(store->stat("a").error() == errc::not_found);
}

TEST_CASE_FIXTURE(store_fixture, "a repeat of a version is harmless, by sending all of it or by its digests") {
  const auto data = random_bytes(2 * block_size + 1, 7);
  REQUIRE(put("a", version_1, data));
  CHECK(put("a", version_1, data));
  auto begun = store->begin_put("a", version_1, data.size());
  REQUIRE(begun);
  CHECK((*begun)->already_there());
  CHECK((*begun)->commit().error() == errc::invalid_argument);
  REQUIRE((*begun)->compare(0, block_crcs(data)));
  CHECK((*begun)->commit());
  CHECK(files("incoming").empty());
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "the same version with other contents is a conflict and changes nothing") {
  const auto data = random_bytes(2 * block_size, 8);
  auto other = data;
  other[block_size] ^= std::byte{1};
  REQUIRE(put("a", version_1, data));
  CHECK(put("a", version_1, other).error() == errc::conflict);
  CHECK(store->begin_put("a", version_1, data.size() + 1).error() == errc::conflict);
  auto begun = store->begin_put("a", version_1, data.size());
  const auto compared = (*begun)->compare(0, block_crcs(other));
  CHECK(compared.error() == errc::conflict);
  CHECK(compared.error().where().ends_with("another block 1"));
  CHECK((*begun)->compare(1, block_crcs(data)).error() == errc::invalid_argument);
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "only a version that is there can be compared with digests alone") {
  auto begun = store->begin_put("a", version_1, block_size);
  CHECK_FALSE((*begun)->already_there());
  CHECK((*begun)->compare(0, {}).error() == errc::invalid_argument);
}

TEST_CASE_FIXTURE(store_fixture, "readers of a replaced shard keep the version that they opened") {
  const auto before = random_bytes(2 * block_size, 9);
  const auto after = random_bytes(block_size + 9, 10);
  REQUIRE(put("a", version_1, before));
  const auto reader = store->open_shard("a").value();
  REQUIRE(put("a", version_2, after));
  bytes seen(before.size());
  REQUIRE(reader->read(0, seen));
  CHECK(seen == before);
  CHECK(contents("a") == after);
  CHECK(store->open_shard("a", version_1).error() == errc::not_found);
  CHECK(store->open_shard("a", version_2));
  CHECK(files("data") == std::vector<std::string>{"a." + version_2_text});
}

TEST_CASE_FIXTURE(store_fixture, "of two puts of one name at the same time the one committed last stays") {
  const auto first = random_bytes(block_size, 11);
  const auto second = random_bytes(2 * block_size, 12);
  auto one = store->begin_put("a", version_1, first.size());
  auto two = store->begin_put("a", version_2, second.size());
  REQUIRE((*one)->write(0, first, block_crcs(first)));
  REQUIRE((*two)->write(0, second, block_crcs(second)));
  REQUIRE((*two)->commit());
  REQUIRE((*one)->commit());
  CHECK((*one)->commit().error() == errc::invalid_argument);
  CHECK(contents("a") == first);
  CHECK(files("data").size() == 1);
}

TEST_CASE_FIXTURE(store_fixture, "of two puts of one version at the same time the second is a repeat or a conflict") {
  const auto data = random_bytes(block_size, 13);
  const auto other = random_bytes(block_size, 14);
  auto one = store->begin_put("a", version_1, data.size());
  auto same = store->begin_put("a", version_1, data.size());
  auto different = store->begin_put("a", version_1, data.size());
  REQUIRE((*one)->write(0, data, block_crcs(data)));
  REQUIRE((*same)->write(0, data, block_crcs(data)));
  REQUIRE((*different)->write(0, other, block_crcs(other)));
  REQUIRE((*one)->commit());
  CHECK((*same)->commit());
  CHECK((*different)->commit().error() == errc::conflict);
  different->reset();
  CHECK(contents("a") == data);
  CHECK(files("incoming").empty());
}

TEST_CASE_FIXTURE(store_fixture, "puts and reads of one shard from many threads never mix versions") {
  constexpr std::uint64_t rounds = 40;
  const auto shard_of = [](std::uint64_t version) { return random_bytes(block_size + version, version); };
  REQUIRE(put("a", {0, 0}, shard_of(0)));
  std::atomic<int> failures = 0;
  const auto putter = [&](std::uint64_t first) {
    for (std::uint64_t version = first; version < rounds; version += 2) {
      if (!put("a", {0, version}, shard_of(version))) ++failures;
    }
  };
  const auto reader = [&] {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      const auto shard = store->open_shard("a");
      bytes seen(shard ? (*shard)->manifest().size : 0);
      if (!shard || !(*shard)->read(0, seen) || block_crcs(seen) != (*shard)->manifest().block_crcs) ++failures;
      if (store->list("", "", 10).shards.size() != 1) ++failures;
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(putter, 1);
  threads.emplace_back(putter, 2);
  threads.emplace_back(reader);
  threads.emplace_back(reader);
  for (auto& thread : threads) {
    thread.join();
  }
  CHECK(failures == 0);
  CHECK(files("data").size() == 1);
  const auto last = store->stat("a").value().version;
  CHECK(contents("a") == shard_of(last.low));
}

TEST_CASE_FIXTURE(store_fixture, "each step of a put is on the disk before the next one builds on it") {
  const auto data = random_bytes(block_size, 15);
  REQUIRE(put("a", version_1, data));
  static_cast<void>(calls.taken_record());
  REQUIRE(put("a", version_2, data));
  CHECK(calls.taken_record() == std::vector<std::string>{
                                    "allocate incoming/2",
                                    "pwrite incoming/2",
                                    "fsync incoming/2",
                                    "rename incoming/2 data/a." + version_2_text,
                                    "fsync store/data",
                                    "pwrite incoming/3",
                                    "fsync incoming/3",
                                    "rename incoming/3 manifests/a",
                                    "fsync store/manifests",
                                    "unlink data/a." + version_1_text,
                                });
}

} // namespace
} // namespace weft::test

namespace weft::test {
namespace {

TEST_CASE_FIXTURE(store_fixture, "a removed shard is read on by who has it open, and its space is freed then") {
  const auto data = random_bytes(3 * block_size, 1);
  REQUIRE(put("a", version_1, data));
  auto reader = store->open_shard("a").value();
  CHECK(store->remove("a", version_2).error() == errc::not_found);
  REQUIRE(store->remove("a"));
  CHECK(store->stat("a").error() == errc::not_found);
  CHECK(store->remove("a").error() == errc::not_found);
  CHECK(files("data").empty());
  CHECK(files("manifests").empty());
  bytes got(data.size());
  CHECK(reader->read(0, got));
  CHECK(got == data);
  const auto open = calls.open_descriptors();
  reader.reset();
  CHECK(calls.open_descriptors() == open - 1);
  reopen();
  CHECK(store->size() == 0);
  CHECK(put("a", version_1, data));
}

TEST_CASE_FIXTURE(store_fixture, "a damaged shard can be removed, data and all") {
  REQUIRE(put("a", version_1, random_bytes(10, 1)));
  REQUIRE(put("b", version_1, random_bytes(10, 1)));
  store.reset();
  std::ofstream(folder / "store" / "manifests" / "a") << "rubbish";
  reopen();
  CHECK(store->stat("a").error() == errc::bad_manifest);
  CHECK(store->remove("a", version_1).error() == errc::bad_manifest);
  CHECK(store->remove("a"));
  CHECK(store->damaged_manifests().empty());
  CHECK(files("data") == std::vector<std::string>{"b." + to_string(version_1)});
}

TEST_CASE_FIXTURE(store_fixture, "a removal that fails half-way never leaves a manifest without data") {
  REQUIRE(put("a", version_1, random_bytes(10, 1)));
  calls.fail("fsync", EIO, "store/manifests");
  CHECK(store->remove("a").error() == errc::io_error);
  CHECK(files("data").size() == 1); // the next start sees to it
  calls.heal();
  calls.fail("unlink", EACCES, "manifests/");
  REQUIRE(put("b", version_1, random_bytes(10, 1)));
  CHECK(store->remove("b").error() == errc::os_failure);
  CHECK(store->stat("b"));
  calls.heal();
  reopen();
  CHECK(files("data").size() == 1);
}

TEST_CASE_FIXTURE(store_fixture, "puts that would leave too little space are no_space, and say how much there is") {
  store.reset();
  store = file_store::open(folder / "store", calls, 10_KiB).value();
  calls.free_bytes = 20 * 1024;
  CHECK(put("fits", version_1, random_bytes(10 * 1024, 1)));
  const auto refused = store->begin_put("large", version_1, 10 * 1024 + 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error() == errc::no_space);
  CHECK(refused.error().where().find("20480 free") != std::string::npos);
  calls.free_bytes = 1000;
  CHECK(store->begin_put("small", version_1, 1).error() == errc::no_space);
  CHECK(files("incoming").empty());
}

} // namespace
} // namespace weft::test
