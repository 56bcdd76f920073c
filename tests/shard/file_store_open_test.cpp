// Taking over a folder: the lock, foreign folders, damaged manifests, and what crashes have left.
#include "store_fixture.hpp"

#include <fcntl.h>

namespace weft::test {
namespace {

namespace fs = std::filesystem;

TEST_CASE_FIXTURE(store_fixture, "a second store on a folder is refused and says why, until the first is gone") {
  const auto second = file_store::open(folder / "store", calls);
  REQUIRE_FALSE(second);
  CHECK(second.error() == errc::os_failure);
  CHECK(second.error().where().find("in use by another store") != std::string::npos);
  store.reset();
  CHECK(file_store::open(folder / "store", calls));
}

TEST_CASE_FIXTURE(store_fixture, "a folder that holds other things is left alone") {
  fs::create_directories(folder / "home" / "data");
  std::ofstream{folder / "home" / "data" / ("thesis." + version_1_text)} << "years of work";
  const auto opened = file_store::open(folder / "home", calls);
  CHECK(opened.error() == errc::invalid_argument);
  CHECK(opened.error().where().find("holds data") != std::string::npos);
  CHECK(fs::exists(folder / "home" / "data" / ("thesis." + version_1_text)));
  CHECK_FALSE(fs::exists(folder / "home" / "weft-store"));
}

TEST_CASE_FIXTURE(store_fixture, "an empty folder, a fresh file system and a half-made store become stores") {
  fs::create_directories(folder / "empty");
  CHECK(file_store::open(folder / "empty", calls));
  fs::create_directories(folder / "fresh" / "lost+found");
  CHECK(file_store::open(folder / "fresh", calls));
  fs::create_directories(folder / "half" / "data");
  std::ofstream{folder / "half" / "weft-store"};
  CHECK(file_store::open(folder / "half", calls));
}

TEST_CASE_FIXTURE(store_fixture, "a path that leads nowhere or a folder of a later format is refused") {
  CHECK(file_store::open(folder / "not" / "there", calls).error() == errc::invalid_argument);
  CHECK(file_store::open("", calls).error() == errc::invalid_argument);
  std::ofstream{folder / "file"} << "x";
  CHECK(file_store::open(folder / "file", calls).error() == errc::invalid_argument);
  fs::create_directories(folder / "later");
  std::ofstream{folder / "later" / "weft-store"} << "weft file store, format 2\n";
  CHECK(file_store::open(folder / "later", calls).error() == errc::bad_manifest);
}

TEST_CASE_FIXTURE(store_fixture, "what puts have left behind is removed, and nothing else") {
  const auto data = random_bytes(block_size, 1);
  REQUIRE(put("a", version_1, data));
  const std::string long_name(500, 'x');
  REQUIRE(put(long_name, version_1, data));
  store.reset();
  const auto put_file = [&](const std::string& path) { std::ofstream{folder / "store" / path} << "left over"; };
  put_file("incoming/7");
  put_file("data/a." + version_2_text);
  put_file("data/gone." + version_1_text);
  put_file("data/%~00000000-0000-0000-0000-000000000000." + version_1_text);
  put_file("data/notes.txt");
  reopen();
  CHECK(files("incoming").empty());
  CHECK(files("data").size() == 3);
  CHECK(fs::exists(folder / "store" / "data" / "notes.txt"));
  CHECK(contents("a") == data);
  CHECK(contents(long_name) == data);
}

TEST_CASE_FIXTURE(store_fixture, "the data of a replaced version goes only when no crash can bring its manifest back") {
  REQUIRE(put("a", version_1, random_bytes(10, 7)));
  calls.fail("fsync", EIO, "store/manifests");
  REQUIRE_FALSE(put("a", version_2, random_bytes(10, 8)));
  reopen();
  CHECK(files("data").size() == 2);
  calls.heal();
  static_cast<void>(calls.taken_record());
  reopen();
  CHECK(calls.taken_record() == std::vector<std::string>{"fsync store/manifests", "unlink data/a." + version_1_text});
}

TEST_CASE_FIXTURE(store_fixture, "one damaged manifest costs its shard only, keeps its data, and a put heals it") {
  const auto data = random_bytes(block_size, 2);
  const std::string long_name(300, 'x');
  for (const auto& name : {std::string{"a"}, std::string{"b"}, long_name}) {
    REQUIRE(put(name, version_1, data));
  }
  store.reset();
  damage("manifests/a", 40);
  fs::resize_file(folder / "store" / "manifests" / files("manifests").front(), 10); // the long name's
  reopen();
  CHECK(store->damaged_manifests().size() == 2);
  CHECK(store->stat("a").error() == errc::bad_manifest);
  CHECK(store->open_shard(long_name).error() == errc::bad_manifest);
  CHECK(contents("b") == data);
  CHECK(files("data").size() == 3);
  REQUIRE(put("a", version_1, data));
  REQUIRE(put(long_name, version_2, data));
  CHECK(store->damaged_manifests().empty());
  CHECK(contents("a") == data);
  CHECK(contents(long_name) == data);
  reopen();
  CHECK(files("data").size() == 3);
}

TEST_CASE_FIXTURE(store_fixture, "damage behind a manifest's header is found when the shard is opened, and healed") {
  const auto data = random_bytes(2 * block_size, 3);
  REQUIRE(put("a", version_1, data));
  store.reset();
  damage("manifests/a", static_cast<std::streamoff>(fs::file_size(folder / "store" / "manifests" / "a")) - 6);
  reopen();
  CHECK(store->stat("a"));
  const auto opened = store->open_shard("a");
  CHECK(opened.error() == errc::bad_manifest);
  CHECK(opened.error().where().find("manifests/a") != std::string::npos);
  REQUIRE(put("a", version_1, data));
  CHECK(contents("a") == data);
}

TEST_CASE_FIXTURE(store_fixture, "a manifest under the file name of another shard is not taken for it") {
  REQUIRE(put("a", version_1, random_bytes(10, 4)));
  store.reset();
  fs::rename(folder / "store" / "manifests" / "a", folder / "store" / "manifests" / "b");
  reopen();
  CHECK(store->stat("a").error() == errc::not_found);
  CHECK(store->stat("b").error() == errc::bad_manifest);
}

TEST_CASE_FIXTURE(store_fixture, "a store on a read-only file system serves what it has and refuses puts") {
  const auto data = random_bytes(block_size + 1, 5);
  REQUIRE(put("a", version_1, data));
  store.reset();
  calls.read_only = true;
  reopen();
  CHECK(contents("a") == data);
  CHECK(put("a", version_2, data).error() == errc::read_only);
  CHECK(file_store::open(folder / "new", calls).error() == errc::read_only);
}

TEST_CASE_FIXTURE(store_fixture, "a manifest that was read once is enough to keep its data, however long its name") {
  const auto data = random_bytes(block_size, 6);
  const std::string long_name(500, 'x');
  REQUIRE(put(long_name, version_1, data));
  for (const int code : {EMFILE, ENOMEM, EIO}) {
    CAPTURE(code);
    calls.fail("open", code, "manifests/%~", 1);
    reopen();
    calls.heal();
    CHECK(files("data").size() == 1);
    CHECK(contents(long_name) == data);
  }
}

TEST_CASE_FIXTURE(store_fixture, "opening fails when the process lacks descriptors, rather than lose a shard") {
  REQUIRE(put("a", version_1, random_bytes(10, 6)));
  store.reset();
  calls.fail("open", EMFILE, "manifests/a");
  CHECK(file_store::open(folder / "store", calls).error() == errc::too_many_files);
  calls.heal();
  reopen();
  CHECK(store->stat("a"));
}

} // namespace
} // namespace weft::test
