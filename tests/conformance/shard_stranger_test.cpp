// What a shard server answers to those who do not keep to the order of a put.
#include "replicas.hpp"
#include "shard_stranger.hpp"

#include "base/crc32c.hpp"

#include <filesystem>
#include <fstream>
#include <thread>

using namespace weft;
using namespace weft::tests;
using shards::verb;

namespace {

constexpr std::uint64_t chunk_size = 1 << 20;

std::vector<std::uint32_t> crcs_of(std::span<const std::byte> bytes) {
  std::vector<std::uint32_t> crcs;
  for (std::size_t at = 0; at < bytes.size(); at += block_size) {
    crcs.push_back(crc32c(bytes.subspan(at, std::min<std::size_t>(block_size, bytes.size() - at))));
  }
  return crcs;
}

shard_stranger::saying begin_of(std::uint64_t number, std::uint64_t size) {
  return {{.what = verb::put_begin, .name = "shard", .version = {1, 2}, .number = number, .offset = size}};
}

shard_stranger::saying chunk_of(std::uint64_t number, std::uint64_t offset, const region_view& bytes) {
  return {{.what = verb::put_chunk, .number = number, .offset = offset, .crcs = crcs_of(bytes.bytes())}, bytes};
}

/// Serves a shard of zeros, so large that reading it takes most of a minute and so sparse that it costs no disk.
struct large_shard {
  large_shard() {
    server.reset(); // has made the folder a store
    manifest stored{"large", {1, 2}, std::uint64_t{256} << 30, {}};
    stored.block_crcs.assign(block_count(stored.size), crc32c(std::vector<std::byte>(block_size)));
    const auto bytes = encode(stored);
    std::ofstream(folder.path() + "/manifests/large", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const auto data = folder.path() + "/data/large." + to_string(stored.version);
    std::ofstream{data};
    std::filesystem::resize_file(data, stored.size);
    server.emplace(shard_server::open(serving, folder.path()).value());
  }

  shard_folder folder;
  fabric serving{configured({{"listen", "127.0.0.1:0"}, {"shard.threads", "1"}})};
  std::optional<shard_server> server{shard_server::open(serving, folder.path()).value()};
};

} // namespace

TEST_CASE("of two chunks for the same blocks at once the second is refused, and the first is stored") {
  replicas<in_threads> with(1);
  shard_stranger stranger(with.servers[0]->address());
  const auto memory = stranger.filled(2 * chunk_size, 1);
  REQUIRE_FALSE(stranger.ask(begin_of(1, 2 * chunk_size)).code);
  auto answers = stranger.say({chunk_of(1, 0, memory.sub(0, chunk_size)),
                               chunk_of(1, chunk_size - block_size, memory.sub(chunk_size - block_size, block_size)),
                               chunk_of(1, chunk_size, memory.sub(chunk_size, chunk_size))});
  CHECK_FALSE(soon(std::move(answers[0])).code);
  const auto refused = soon(std::move(answers[1]));
  CHECK(refused.code == errc::invalid_argument);
  CHECK(refused.where == "put 1: some of 1 blocks from block 15 on are under way already");
  CHECK_FALSE(soon(std::move(answers[2])).code);
  // Once it has landed the blocks are free again.
  CHECK_FALSE(stranger.ask(chunk_of(1, 0, memory.sub(0, chunk_size))).code);
  CHECK_FALSE(stranger.ask({{.what = verb::put_commit, .number = 1}}).code);
  CHECK(with.arrives("shard", 2 * chunk_size, 1));
}

TEST_CASE("a commit that overtakes a chunk is refused, and what was put is dropped") {
  replicas<in_threads> with(1);
  shard_stranger stranger(with.servers[0]->address());
  const auto memory = stranger.filled(chunk_size, 1);
  REQUIRE_FALSE(stranger.ask(begin_of(1, chunk_size)).code);
  auto answers = stranger.say({chunk_of(1, 0, memory), {{.what = verb::put_commit, .number = 1}}});
  const auto refused = soon(std::move(answers[1]));
  CHECK(refused.code == errc::invalid_argument);
  CHECK(refused.where == "commit before all chunks were answered");
  std::ignore = soon(std::move(answers[0]));
  CHECK(eventually([&] { return with.folders[0].unfinished() == 0; }));
  CHECK(std::get<0>(soon(with.shards->stat("shard", outcome))) == errc::not_found);
}

TEST_CASE("a server that ends while a chunk is on its way frees its folder, and the peer hears why") {
  const shard_folder folder;
  fabric serving(configured({{"listen", "127.0.0.1:0"}}));
  std::optional<shard_server> server(shard_server::open(serving, folder.path()).value());
  shard_stranger stranger(serving.address(), {{"lane.bulk.limit", "1MiB/s"}});
  const auto memory = stranger.filled(chunk_size, 1);
  REQUIRE_FALSE(stranger.ask(begin_of(1, chunk_size)).code);
  auto stored = std::move(stranger.say({chunk_of(1, 0, memory)}).front());
  REQUIRE(eventually([&] { return serving.snapshot().all_lanes().bytes_received > 0; }));
  server.reset();
  CHECK(stored.wait_for(0s) == std::future_status::timeout);
  CHECK(folder.unfinished() == 0);
  const auto next = shard_server::open(serving, folder.path());
  CHECK(next.has_value());
  const auto ended = soon(std::move(stored));
  CHECK(ended.code == errc::peer_closed);
  CHECK(ended.where == "its shard server is closed");
}

TEST_CASE("a shard is verified no longer than somebody waits for it") {
  large_shard with;
  const shard_stranger::saying verify{.what = {.what = verb::verify, .name = "large"}};
  const shard_stranger::saying unknown{.what = {.what = verb::put_abandon, .number = 9}};
  shard_stranger stranger(with.serving.address());
  // Once what comes behind it on the link is answered, the verify has come to the server.
  const auto begin = [&](shard_stranger& from) {
    auto answers = from.say({verify, unknown});
    CHECK(soon(std::move(answers[1])).code == errc::not_found);
    return std::move(answers[0]);
  };
  // Nothing reads files any more.
  const auto disk_is_quiet = [] {
    const auto bytes_read = [] {
      std::ifstream counters("/proc/self/io");
      std::string name;
      std::uint64_t bytes = 0;
      counters >> name >> bytes;
      REQUIRE(name == "rchar:");
      return bytes;
    };
    for (const auto end = clock::now() + patience; clock::now() < end;) {
      const auto before = bytes_read();
      std::this_thread::sleep_for(20ms);
      if (bytes_read() - before < block_size) return true;
    }
    return false;
  };
  SUBCASE("until the deadline") {
    auto hasty = verify;
    hasty.deadline = 50ms;
    CHECK(stranger.ask(hasty).code == errc::deadline_exceeded);
    CHECK(disk_is_quiet());
  }
  SUBCASE("until the link ends") {
    auto other = std::make_unique<shard_stranger>(with.serving.address());
    std::ignore = begin(*other);
    other.reset();
    CHECK(disk_is_quiet());
  }
  SUBCASE("until the server ends, and others have their turns meanwhile, on the disk's one thread") {
    auto verified = begin(stranger);
    CHECK_FALSE(stranger.ask({.what = {.what = verb::stat, .name = "large"}}).code);
    with.server.reset();
    CHECK(soon(std::move(verified)).code == errc::peer_closed);
    CHECK(disk_is_quiet());
  }
}

TEST_CASE("comparisons with a version that is there are answered, repeated or beyond its end") {
  replicas<in_threads> with(1);
  shard_stranger stranger(with.servers[0]->address());
  const auto memory = stranger.filled(chunk_size, 1);
  for (const std::uint64_t number : {1, 2}) {
    REQUIRE_FALSE(stranger.ask(begin_of(number, chunk_size)).code);
    const auto compare = [&](std::uint64_t first, std::span<const std::byte> bytes) {
      return stranger.ask({{.what = verb::put_compare, .number = number, .offset = first, .crcs = crcs_of(bytes)}})
          .code;
    };
    if (number == 1) {
      CHECK(compare(0, memory.bytes()) == errc::invalid_argument); // nothing is there yet
      REQUIRE_FALSE(stranger.ask(chunk_of(number, 0, memory)).code);
    } else {
      CHECK_FALSE(compare(0, memory.bytes()));
      CHECK_FALSE(compare(0, memory.bytes()));
      CHECK(compare(1, memory.bytes()) == errc::invalid_argument);
      CHECK(compare(~std::uint64_t{0}, memory.bytes()) == errc::invalid_argument);
    }
    CHECK_FALSE(stranger.ask({{.what = verb::put_commit, .number = number}}).code);
  }
}
