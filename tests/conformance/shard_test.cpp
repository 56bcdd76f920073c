// Shards over a link: what is put is what is fetched, whole and in parts, from one replica and from two.
#include "replicas.hpp"

using namespace weft;
using namespace weft::tests;

TEST_CASE_TEMPLATE("a shard is fetched as it was put, for sizes around blocks and chunks", Kind, in_threads,
                   in_processes) {
  constexpr std::size_t mib = 1 << 20;
  for (const std::size_t count : {1, 2}) {
    replicas<Kind> with(count);
    std::uint64_t seed = 0;
    for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65535}, std::size_t{65536},
                                   std::size_t{65537}, mib - 1, mib, mib + 1, 2 * mib, 20 * mib + 12345}) {
      CAPTURE(count);
      CAPTURE(size);
      const auto name = "sizes/" + std::to_string(size);
      const auto put = with.put(name, size, ++seed);
      CHECK(put.copies.size() == count);
      for (const auto& copy : put.copies) CHECK((copy.placed && copy.durable && !copy.code));
      const auto info = soon(with.shards->stat(name, asio::use_future));
      CHECK(info.size == size);
      CHECK(info.version == put.version);
      CHECK(with.arrives(name, size, seed));
      const auto verified = soon(with.shards->verify(name, std::nullopt, asio::use_future));
      CHECK(verified.version == put.version);
      CHECK(verified.copies.size() == count);
      for (const auto& copy : verified.copies) {
        CHECK(copy.blocks == (size + 65535) / 65536);
        CHECK(copy.bad_blocks.empty());
      }
    }
  }
}

TEST_CASE_TEMPLATE("ranges go each to its own place, in one operation", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  constexpr std::size_t size = 5'000'000;
  with.put("ranged", size, 3);
  auto memory = with.client.allocate(byte_count{4'000'000}).value();
  auto other = with.client.allocate(byte_count{1'000'000}).value();
  std::ranges::fill(memory.bytes(), poison);
  // Ragged, aligned, overlapping, empty, into two regions, and the very end.
  const std::vector<fetch_piece> pieces = {{1, memory.sub(0, 1)},
                                           {65'530, memory.sub(10, 12)},
                                           {65'536, memory.sub(100, 65'536)},
                                           {1'000'003, memory.sub(100'000, 2'500'000)},
                                           {1'000'003, other.all()},
                                           {17, memory.sub(3'900'000, 0)},
                                           {size - 5, memory.sub(3'999'995, 5)}};
  const auto got = soon(with.shards->fetch("ranged", pieces, {}, asio::use_future));
  std::size_t total = 0;
  for (const auto& each : pieces) {
    total += each.to.length;
    CHECK(has_pattern(each.to.bytes(), 3, each.offset));
  }
  CHECK(got.bytes == total);
  CHECK(got.size == size);
  CHECK(is_poisoned(memory.bytes().subspan(1, 9)));
  CHECK(is_poisoned(memory.bytes().subspan(22, 78)));
}

TEST_CASE_TEMPLATE("fetches go on every lane, with the checks that are asked for", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  constexpr std::size_t size = 3'000'000;
  with.put("lanes", size, 4, {.lane = lane::background});
  for (std::size_t i = 0; i < lane_count; ++i) {
    auto memory = with.client.allocate(byte_count{size}).value();
    const auto mode = i % 2 == 0 ? verify_mode::wire : verify_mode::slice;
    const auto got =
        soon(with.shards->fetch("lanes", memory, {.lane = static_cast<lane>(i), .verify = mode}, asio::use_future));
    CHECK(got.verified == mode);
    CHECK(has_pattern(memory.bytes(), 4));
  }
}

TEST_CASE_TEMPLATE("a listing has pages and prefixes", Kind, in_threads, in_processes) {
  replicas<Kind> with(1);
  for (int i = 0; i < 25; ++i) with.put((i % 2 == 0 ? "a/" : "b/") + std::to_string(100 + i), 10, 1);
  std::vector<std::string> names;
  for (std::string after;;) {
    const auto page = soon(with.shards->list("a/", after, 5, asio::use_future));
    CHECK(page.shards.size() <= 5);
    for (const auto& each : page.shards) names.push_back(each.name);
    if (!page.more) break;
    after = names.back();
  }
  CHECK(names.size() == 13);
  CHECK(std::ranges::is_sorted(names));
  CHECK(std::ranges::all_of(names, [](const std::string& name) { return name.starts_with("a/"); }));
  CHECK(soon(with.shards->list("c/", "", 5, asio::use_future)).shards.empty());
}

TEST_CASE_TEMPLATE("a put is repeated without harm, and refused with other bytes", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  const auto version = random_id();
  const put_options options{.version = version};
  constexpr std::size_t size = 2'500'000;
  CHECK(with.put("same", size, 5, options).version == version);
  for (const auto& copy : with.put("same", size, 5, options).copies) CHECK(copy.durable);
  const auto [code, told] = soon(with.shards->put("same", with.filled(size, 6).sub(0, size), options, outcome));
  CHECK(code == errc::conflict);
  CHECK_FALSE(told.where.empty());
  const auto [shorter, also] = soon(with.shards->put("same", with.filled(size, 5).sub(0, 100), options, outcome));
  CHECK(shorter == errc::conflict);
  CHECK(with.arrives("same", size, 5));
}

TEST_CASE_TEMPLATE("a repeat is compared to its end, whatever the window", Kind, in_threads, in_processes) {
  replicas<Kind> with(1, {{"shard.window", "10MB"}}); // of no whole number of blocks
  const put_options options{.version = random_id()};
  constexpr std::size_t size = 20'000'000;
  with.put("long", size, 5, options);
  CHECK(with.put("long", size, 5, options).copies.at(0).durable);
}

TEST_CASE_TEMPLATE("another version takes the place of the last, and a fetch can insist on its own", Kind, in_threads,
                   in_processes) {
  replicas<Kind> with(1);
  const auto first = with.put("turns", 100'000, 7).version;
  auto memory = with.client.allocate(byte_count{100'000}).value();
  const fetch_options pinned{.version = first};
  CHECK(soon(with.shards->fetch("turns", memory, pinned, asio::use_future)).version == first);
  const auto second = with.put("turns", 200'000, 8).version;
  CHECK(with.arrives("turns", 200'000, 8));
  CHECK(std::get<0>(soon(with.shards->fetch("turns", memory, pinned, outcome))) == errc::not_found);
  CHECK(soon(with.shards->stat("turns", asio::use_future)).version == second);
}

TEST_CASE_TEMPLATE("what cannot be is named", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  with.put("there", 1000, 1);
  auto memory = with.client.allocate(byte_count{2000}).value();
  const auto fetch = [&](const std::string& name, region_view to) {
    return std::get<0>(soon(with.shards->fetch(name, to, {}, outcome)));
  };
  CHECK(fetch("unknown", memory) == errc::not_found);
  CHECK(std::get<0>(soon(with.shards->stat("unknown", outcome))) == errc::not_found);
  CHECK(std::get<0>(soon(with.shards->verify("unknown", std::nullopt, outcome))) == errc::not_found);
  CHECK(fetch("../there", memory) == errc::invalid_name);
  CHECK(std::get<0>(soon(with.shards->put("", memory, {}, outcome))) == errc::invalid_name);
  CHECK(fetch("there", memory) == errc::length_mismatch);
  CHECK(fetch("there", memory.sub(1500, 1000)) == errc::out_of_region);
  const std::vector<fetch_piece> beyond = {{500, memory.sub(0, 501)}};
  CHECK(std::get<0>(soon(with.shards->fetch("there", beyond, {}, outcome))) == errc::out_of_region);
  CHECK(std::get<0>(soon(with.shards->put("x", memory, {.min_copies = 3}, outcome))) == errc::invalid_argument);
  shard_client nobody(with.client, {});
  CHECK(std::get<0>(soon(nobody.stat("there", outcome))) == errc::invalid_argument);
  CHECK(std::get<0>(soon(nobody.fetch("there", memory, {}, outcome))) == errc::invalid_argument);
}

TEST_CASE_TEMPLATE("a peer without a shard server says so", Kind, in_threads, in_processes) {
  rig<Kind> with;
  shard_client shards(with.client, {with.peer.address()});
  CHECK(std::get<0>(soon(shards.stat("any", outcome))) == errc::no_handler);
}

TEST_CASE_TEMPLATE("many fetches at once share a small pool", Kind, in_threads, in_processes) {
  // Less pool than what is asked for at once: reads wait their turn.
  replicas<Kind> with(2, {}, {{"pool.bytes", "4MiB"}});
  constexpr std::size_t size = 6'000'000;
  with.put("shared", size, 9);
  std::vector<region> memories;
  std::vector<std::future<fetch_result>> fetches;
  for (int i = 0; i < 8; ++i) {
    memories.push_back(with.client.allocate(byte_count{size}).value());
    fetches.push_back(with.shards->fetch("shared", memories.back(), {}, asio::use_future));
  }
  for (auto& each : fetches) CHECK(soon(std::move(each)).bytes == size);
  for (const auto& memory : memories) CHECK(has_pattern(memory.bytes(), 9));
}

TEST_CASE_TEMPLATE("a removed shard is gone from every replica, and can be put again", Kind, in_threads, in_processes) {
  replicas<Kind> with(2);
  with.put("kept", 1000, 1);
  with.put("gone", 300'000, 2);
  const auto removed = soon(with.shards->remove("gone", {}, asio::use_future));
  REQUIRE(removed.copies.size() == 2);
  for (const auto& copy : removed.copies) CHECK(copy.removed);
  CHECK(std::get<0>(soon(with.shards->stat("gone", outcome))) == errc::not_found);
  CHECK(std::get<0>(soon(with.shards->remove("gone", {}, outcome))) == errc::not_found);
  CHECK(std::get<0>(soon(with.shards->remove("../x", {}, outcome))) == errc::invalid_name);
  CHECK(std::get<0>(soon(with.shards->remove("kept", {.version = id128{}}, outcome))) == errc::invalid_argument);
  CHECK(with.arrives("kept", 1000, 1));
  const auto again = with.put("gone", 200'000, 3);
  CHECK(std::get<0>(soon(with.shards->remove("gone", {.version = id128{1, 2}}, outcome))) == errc::not_found);
  CHECK(with.arrives("gone", 200'000, 3));
  CHECK(std::get<0>(soon(with.shards->remove("gone", {.version = again.version}, outcome))) == error_code{});
}

TEST_CASE("a shard that only one replica has is removed there; with a replica away that is told" *
          doctest::test_suite("two processes")) {
  replicas<in_processes> with(2);
  shard_client one{with.client, {with.servers[0]->address()}};
  soon(one.put("single", with.filled(1000, 1), {}, asio::use_future));
  const auto removed = soon(with.shards->remove("single", {}, asio::use_future));
  CHECK(removed.copies[0].removed);
  CHECK(removed.copies[1].code == errc::not_found);

  with.put("both", 1000, 1);
  with.servers[1]->kill();
  const auto [code, partly] = soon(with.shards->remove("both", {.deadline = 3s}, outcome));
  CHECK(code);
  CHECK(partly.copies[0].removed);
  CHECK_FALSE(partly.copies[1].removed);
}
