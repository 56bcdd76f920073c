// Look-up and paging by an ordered map.
#include "shard/catalogue.hpp"

namespace weft {

void catalogue::set(std::string_view name, const id128& version, std::uint64_t size) {
  shards_.insert_or_assign(std::string(name), entry{version, size});
}

void catalogue::erase(std::string_view name) {
  if (const auto found = shards_.find(name); found != shards_.end()) shards_.erase(found);
}

std::optional<shard_info> catalogue::find(std::string_view name) const {
  const auto found = shards_.find(name);
  if (found == shards_.end()) return std::nullopt;
  return shard_info{found->first, found->second.version, found->second.size};
}

shard_page catalogue::list(std::string_view prefix, std::string_view after, std::size_t limit) const {
  shard_page page;
  auto at = after < prefix ? shards_.lower_bound(prefix) : shards_.upper_bound(after);
  for (; at != shards_.end() && at->first.starts_with(prefix); ++at) {
    if (page.shards.size() == limit) {
      page.more = true;
      break;
    }
    page.shards.push_back({at->first, at->second.version, at->second.size});
  }
  return page;
}

} // namespace weft
