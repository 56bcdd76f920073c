// `weft ls` and `weft stat`: what a server has.
#include "weft/commands.hpp"

#include <weft/shard_client.hpp>

#include <fmt/format.h>

namespace weft::tools {
namespace {

constexpr std::uint32_t page = 1000;

} // namespace

result<void> list(command_context& context, const url_argument& argument) {
  const auto url = parse_url(argument.url);
  if (!url) return url.error();
  context.document = {{"command", "ls"}, {"prefix", url->name}, {"shards", nlohmann::ordered_json::array()}};
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  shard_client shards{*on, url->replicas};
  std::string after;
  while (true) {
    pending<shard_page> looking;
    shards.list(url->name, after, page, looking.handler());
    const auto found = looking.get(context.signals);
    if (found.code) return failure_of(found.code, {}, url->text());
    for (const auto& shard : found.value.shards) {
      if (context.json) {
        context.document["shards"].push_back(
            {{"name", shard.name}, {"size", shard.size}, {"version", to_string(shard.version)}});
      } else {
        fmt::print("{:>15}  {}\n", shard.size, shard.name);
      }
    }
    if (!found.value.more || found.value.shards.empty()) return {};
    after = found.value.shards.back().name;
  }
}

result<void> stat(command_context& context, const url_argument& argument) {
  const auto url = parse_shard_url(argument.url);
  if (!url) return url.error();
  context.document = {{"command", "stat"}, {"name", url->name}};
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  shard_client shards{*on, url->replicas};
  pending<shard_info> looking;
  shards.stat(url->name, looking.handler());
  const auto found = looking.get(context.signals);
  if (found.code) return failure_of(found.code, {}, url->text());
  context.document.update({{"size", found.value.size}, {"version", to_string(found.value.version)}});
  if (!context.json) {
    fmt::print("name     {}\nsize     {}\nversion  {}\n", found.value.name, found.value.size,
               to_string(found.value.version));
  }
  return {};
}

} // namespace weft::tools
