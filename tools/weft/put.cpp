// `weft put`: a mapped file to every replica.
#include "weft/commands.hpp"

#include "common/progress.hpp"
#include "weft/input_file.hpp"

#include <weft/shard_client.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace weft::tools {
namespace {

/// What became of each copy; a failed one is told on standard error too, as the put may succeed without it.
void report(command_context& context, const shard_url& url, std::uint64_t size, const put_result& stored) {
  auto copies = nlohmann::ordered_json::array();
  for (const auto& copy : stored.copies) {
    nlohmann::ordered_json one = {{"address", copy.address}, {"placed", copy.placed}, {"durable", copy.durable}};
    if (copy.code) {
      const auto failure = failure_of(copy.code, copy.where, copy.address);
      print_error("weft put", failure);
      one["error"] = {{"code", name(failure.code())}, {"where", failure.where()}};
    }
    copies.push_back(std::move(one));
  }
  context.document.update({{"version", to_string(stored.version)}, {"bytes", size}, {"copies", std::move(copies)}});
  if (context.json) return;
  const auto durable =
      std::count_if(stored.copies.begin(), stored.copies.end(), [](auto& copy) { return copy.durable; });
  fmt::print("{}: {} bytes, version {}, {} of {} copies durable\n", url.name, size, to_string(stored.version), durable,
             stored.copies.size());
}

} // namespace

result<void> put(command_context& context, const put_arguments& arguments) {
  const auto url = parse_shard_url(arguments.url);
  if (!url) return url.error();
  if (arguments.min_copies > url->replicas.size()) {
    return error{errc::invalid_argument,
                 fmt::format("--min-copies {}: the URL has {} replicas", arguments.min_copies, url->replicas.size())};
  }
  context.document = {{"command", "put"}, {"name", url->name}};
  const auto file = input_file::open(arguments.file);
  if (!file) return file.error();
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  const auto memory = file->bytes().empty() ? on->allocate(byte_count{1}) : on->register_memory(file->bytes());
  if (!memory) return memory.error();

  const std::uint64_t size = file->bytes().size();
  shard_client shards{*on, url->replicas};
  const put_options options{.lane = context.lane(),
                            .deadline = context.deadline_for(size * url->replicas.size()),
                            .min_copies = arguments.min_copies};
  pending<put_result> storing;
  shards.put(url->name, memory->sub(0, size), options, storing.handler());
  progress bar{url->name, size};
  const auto stored = storing.get(
      context.signals, [&] { bar.update(on->snapshot().all_lanes().bytes_delivered / url->replicas.size()); });
  if (!stored.value.copies.empty()) report(context, *url, size, stored.value);
  if (stored.code) return failure_of(stored.code, stored.value.where, url->text());
  return {};
}

} // namespace weft::tools
