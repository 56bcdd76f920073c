// `weft verify`: every replica reads its copy and compares it with the checksums that the putting client computed.
#include "weft/commands.hpp"

#include <weft/shard_client.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weft::tools {
namespace {

void report(command_context& context, const std::string& shard, const verify_result& checked) {
  auto copies = nlohmann::ordered_json::array();
  for (const auto& copy : checked.copies) {
    nlohmann::ordered_json one = {{"address", copy.address}, {"blocks", copy.blocks}, {"bad_blocks", copy.bad_blocks}};
    const bool unreadable = copy.code && copy.bad_blocks.empty();
    if (copy.code) one["error"] = {{"code", name(to_errc(copy.code))}, {"where", copy.where}};
    copies.push_back(std::move(one));
    if (context.json) continue;
    if (unreadable) {
      print_error("weft verify", failure_of(copy.code, copy.where, copy.address));
    } else if (copy.bad_blocks.empty()) {
      fmt::print("{}: {} blocks of {}, all good\n", copy.address, copy.blocks, shard);
    } else {
      fmt::print("{}: {} blocks of {}, bad: {}\n", copy.address, copy.blocks, shard, fmt::join(copy.bad_blocks, " "));
    }
  }
  context.document.update({{"version", to_string(checked.version)}, {"copies", std::move(copies)}});
}

} // namespace

result<void> verify(command_context& context, const url_argument& argument) {
  const auto url = parse_shard_url(argument.url);
  if (!url) return url.error();
  context.document = {{"command", "verify"}, {"name", url->name}};
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  shard_client shards{*on, url->replicas};
  // The size is asked for first: it is what a sensible deadline depends on.
  pending<shard_info> looking;
  shards.stat(url->name, looking.handler());
  const auto found = looking.get(context.signals);
  if (found.code) return failure_of(found.code, {}, url->text());
  pending<verify_result> checking;
  shards.verify(url->name, context.deadline_for(found.value.size), checking.handler());
  const auto checked = checking.get(context.signals);
  if (!checked.value.copies.empty()) report(context, url->name, checked.value);
  if (checked.code) return failure_of(checked.code, checked.value.where, url->text());
  return {};
}

} // namespace weft::tools
