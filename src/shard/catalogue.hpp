// The names in a store, with version and size, in byte order. Its owner serialises the calls.
#pragma once

#include <weft/shard_info.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

/// Holds what a listing shows and nothing else: about 150 bytes a shard with a name of 30.
class catalogue {
public:
  /// Adds the shard, or makes this its version.
  void set(std::string_view name, const id128& version, std::uint64_t size);
  void erase(std::string_view name);
  [[nodiscard]] std::optional<shard_info> find(std::string_view name) const;
  /// At most `limit` shards whose names begin with `prefix`, from the first name behind `after` on.
  [[nodiscard]] shard_page list(std::string_view prefix, std::string_view after, std::size_t limit) const;
  [[nodiscard]] std::size_t size() const noexcept { return shards_.size(); }

private:
  struct entry {
    id128 version;
    std::uint64_t size;
  };

  std::map<std::string, entry, std::less<>> shards_;
};

} // namespace weft
