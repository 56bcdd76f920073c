// What a listing says of shards.
#pragma once

#include <weft/id.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace weft {

struct shard_info {
  std::string name;
  id128 version; ///< chosen by the client that put it
  std::uint64_t size = 0;

  friend bool operator==(const shard_info&, const shard_info&) = default;
};

struct shard_page {
  std::vector<shard_info> shards; ///< in the byte order of their names
  bool more = false;              ///< ask again with `after` the last name
};

} // namespace weft
