#include "memory/buffer_pool.hpp"

#include <doctest/doctest.h>

#include <thread>

using namespace weft::memory;

namespace {

constexpr auto block = buffer_pool::block_size;

/// Asks for memory and keeps it.
struct borrower {
  ~borrower() {
    while (!leases.empty()) give_back();
  }
  void acquire(buffer_pool& from, std::uint64_t bytes) {
    from.acquire(this, bytes, [this](auto lent) { leases.push_back(std::move(lent)); });
  }
  /// Returns the oldest; what waits is served inside.
  void give_back() {
    const auto returned = std::move(leases.front());
    leases.erase(leases.begin());
  }
  std::vector<std::shared_ptr<buffer_pool::lease>> leases;
};

std::shared_ptr<buffer_pool> pool_of(std::size_t blocks) {
  const auto bytes = std::make_shared<std::vector<std::byte>>(blocks * block);
  return std::make_shared<buffer_pool>(std::make_shared<const weft::registration>(*bytes, [bytes] {}));
}

} // namespace

TEST_CASE("a lease has room for what was asked, in whole blocks") {
  auto pool = pool_of(8);
  borrower one;
  one.acquire(*pool, block + 1);
  REQUIRE(one.leases.size() == 1);
  CHECK(one.leases[0]->pieces(0, 2 * block).length() == 2 * block);
  const auto pieces = one.leases[0]->pieces(10, block);
  CHECK(pieces.length() == block);
  iovec parts[4];
  REQUIRE(pieces.gather(0, block, parts) == 2);
  CHECK(parts[0].iov_base == one.leases[0]->block(0).data() + 10);
  CHECK(parts[0].iov_len == block - 10);
  CHECK(parts[1].iov_base == one.leases[0]->block(1).data());
  CHECK(parts[1].iov_len == 10);
}

TEST_CASE("no two leases share a byte") {
  auto pool = pool_of(8);
  borrower one;
  borrower other;
  for (int i = 0; i < 4; ++i) {
    one.acquire(*pool, block);
    other.acquire(*pool, block);
  }
  std::vector<const std::byte*> seen;
  for (const auto* each : {&one, &other}) {
    for (const auto& lent : each->leases) seen.push_back(lent->block(0).data());
  }
  std::sort(seen.begin(), seen.end());
  REQUIRE(seen.size() == 8);
  for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i] - seen[i - 1] >= static_cast<std::ptrdiff_t>(block));
}

TEST_CASE("one borrower gets half of the pool at most, and the rest stays for others") {
  auto pool = pool_of(8);
  CHECK(pool->most() == 4 * block);
  borrower greedy;
  for (int i = 0; i < 6; ++i) greedy.acquire(*pool, block);
  CHECK(greedy.leases.size() == 4);
  borrower modest;
  modest.acquire(*pool, 2 * block);
  CHECK(modest.leases.size() == 1);
  // What comes back goes to who waits.
  greedy.give_back();
  CHECK(greedy.leases.size() == 4);
}

TEST_CASE("who waits is served in order") {
  auto pool = pool_of(4);
  borrower holder;
  borrower also;
  holder.acquire(*pool, 2 * block);
  also.acquire(*pool, 2 * block);
  std::vector<int> order;
  borrower first;
  borrower second;
  std::vector<std::shared_ptr<buffer_pool::lease>> kept;
  const auto note = [&](int who) {
    return [&order, &kept, who](auto lent) {
      order.push_back(who);
      kept.push_back(std::move(lent));
    };
  };
  pool->acquire(&first, block, note(1));
  pool->acquire(&second, block, note(2));
  pool->acquire(&first, block, note(3));
  CHECK(order.empty());
  holder.leases.clear();
  CHECK(order == std::vector{1, 2});
  also.leases.clear();
  CHECK(order == std::vector{1, 2, 3});
}

TEST_CASE("a large wish of one borrower is not overtaken by its own small ones") {
  auto pool = pool_of(8);
  borrower one;
  one.acquire(*pool, 3 * block);
  one.acquire(*pool, 2 * block); // waits: beyond its share
  one.acquire(*pool, block);     // fits, but is behind
  CHECK(one.leases.size() == 1);
  one.give_back();
  CHECK(one.leases.size() == 2);
  CHECK(one.leases[0]->pieces(0, 2 * block).length() == 2 * block);
}

TEST_CASE("what waits for its borrower's share is not overtaken as that comes back bit by bit") {
  auto pool = pool_of(8);
  borrower one;
  one.acquire(*pool, block);
  one.acquire(*pool, 3 * block);
  one.acquire(*pool, 2 * block); // waits: beyond its share
  one.acquire(*pool, block);
  one.give_back(); // there is room for the last one, which is behind
  CHECK(one.leases.size() == 1);
  one.give_back();
  REQUIRE(one.leases.size() == 2);
  CHECK(one.leases[0]->pieces(0, 2 * block).length() == 2 * block);
}

TEST_CASE("what the pool has not enough left for is not overtaken by small wishes without end") {
  auto pool = pool_of(8);
  borrower holder, also, large, small;
  for (int i = 0; i < 4; ++i) holder.acquire(*pool, block);
  for (int i = 0; i < 3; ++i) also.acquire(*pool, block);
  large.acquire(*pool, 4 * block); // one is left
  small.acquire(*pool, block);
  CHECK(small.leases.empty());
  for (int i = 0; i < 3; ++i) holder.give_back();
  CHECK(large.leases.size() == 1);
  CHECK(small.leases.empty());
  holder.give_back();
  CHECK(small.leases.size() == 1);
}

TEST_CASE("the most that may be asked for is what a borrower can have") {
  auto pool = pool_of(7);
  borrower one;
  CHECK(pool->most() == 3 * block);
  one.acquire(*pool, pool->most());
  CHECK(one.leases.size() == 1);
}

TEST_CASE("a long queue whose members return at once is served without depth") {
  auto pool = pool_of(8);
  borrower first;
  first.acquire(*pool, 4 * block);
  int served = 0;
  for (int i = 0; i < 40'000; ++i) pool->acquire(&first, block, [&](const auto&) { ++served; });
  CHECK(served == 0);
  first.give_back();
  CHECK(served == 40'000);
}

TEST_CASE("many threads borrow and return") {
  auto pool = pool_of(8);
  std::vector<std::thread> threads;
  std::atomic<int> lent = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        pool->acquire(&threads + t % 2, (1 + static_cast<std::uint64_t>(i) % 3) * block, [&](auto lease) {
          lease->block(0)[0] = std::byte{1};
          ++lent;
        });
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(lent == 8000);
}
