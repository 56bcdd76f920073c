// `weft rm`: takes a shard from every replica.
#include "weft/commands.hpp"

#include <weft/shard_client.hpp>

#include <fmt/format.h>

namespace weft::tools {

result<void> remove(command_context& context, const url_argument& argument) {
  const auto url = parse_shard_url(argument.url);
  if (!url) return url.error();
  context.document = {{"command", "rm"}, {"name", url->name}};
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  shard_client shards{*on, url->replicas};
  pending<remove_result> removing;
  shards.remove(url->name, {.deadline = context.settings.deadline}, removing.handler());
  const auto ended = removing.get(context.signals);
  auto copies = nlohmann::ordered_json::array();
  for (const auto& copy : ended.value.copies) {
    nlohmann::ordered_json one = {{"address", copy.address}, {"removed", copy.removed}};
    if (copy.code) one["error"] = {{"code", name(to_errc(copy.code))}, {"where", copy.where}};
    copies.push_back(std::move(one));
  }
  context.document["copies"] = std::move(copies);
  if (ended.code) return failure_of(ended.code, ended.value.where, url->text());
  return {};
}

} // namespace weft::tools
