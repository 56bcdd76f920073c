// Shard servers with folders of their own, and a client of them all.
#pragma once

#include "rig.hpp"
#include "shard_folder.hpp"

#include <weft/shard_client.hpp>

#include <array>
#include <memory>

namespace weft::tests {

template <class Kind>
struct replicas {
  explicit replicas(std::size_t count, const settings& mine = {}, const settings& theirs = {})
      : client(configured(mine)) {
    std::vector<std::string> addresses;
    for (std::size_t i = 0; i < count; ++i) {
      servers.push_back(
          std::make_unique<Kind>(peer_options{.size = 4096, .store = folders[i].path(), .values = theirs}));
      addresses.push_back(servers.back()->address());
    }
    shards.emplace(client, addresses);
  }

  region filled(std::size_t size, std::uint64_t seed) {
    auto made = client.allocate(byte_count{std::max<std::size_t>(size, 1)}).value();
    fill(made.bytes().first(size), seed);
    return made;
  }
  /// Puts a shard of `size` bytes of the pattern on every replica.
  put_result put(const std::string& name, std::size_t size, std::uint64_t seed, const put_options& options = {}) {
    return soon(shards->put(name, filled(size, seed).sub(0, size), options, asio::use_future));
  }
  /// Fetches it whole, and tells whether it has the pattern.
  bool arrives(const std::string& name, std::size_t size, std::uint64_t seed) {
    auto memory = client.allocate(byte_count{std::max<std::size_t>(size, 1)}).value();
    std::ranges::fill(memory.bytes(), poison);
    const auto got = soon(shards->fetch(name, memory.sub(0, size), {}, asio::use_future));
    return got.bytes == size && has_pattern(memory.bytes().first(size), seed);
  }

  std::array<shard_folder, 2> folders;
  std::vector<std::unique_ptr<Kind>> servers;
  fabric client;
  std::optional<shard_client> shards;
};

} // namespace weft::tests
