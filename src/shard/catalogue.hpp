// The names in a store, with version and size, in byte order. Its owner serialises the calls.
#pragma once

#include <weft/id.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// One line of a listing.
struct catalogue_entry {
  std::string name;
  id128 version;
  std::uint64_t size = 0;

  friend bool operator==(const catalogue_entry&, const catalogue_entry&) = default;
};

/// A part of a listing; `more` says whether names that fit follow the last one.
struct catalogue_page {
  std::vector<catalogue_entry> shards;
  bool more = false;
};

/// Holds what a listing shows and nothing else: about 150 bytes a shard with a name of 30.
class catalogue {
public:
  /// Adds the shard, or makes this its version.
  void set(std::string_view name, const id128& version, std::uint64_t size);
  void erase(std::string_view name);
  [[nodiscard]] std::optional<catalogue_entry> find(std::string_view name) const;
  /// At most `limit` shards whose names begin with `prefix`, from the first name behind `after` on.
  [[nodiscard]] catalogue_page list(std::string_view prefix, std::string_view after, std::size_t limit) const;
  [[nodiscard]] std::size_t size() const noexcept { return shards_.size(); }

private:
  struct entry {
    id128 version;
    std::uint64_t size;
  };

  std::map<std::string, entry, std::less<>> shards_;
};

} // namespace weft
