// `weft doctor`: what this host has to carry data with, which ways lead to each peer, and why the others are not taken.
#include "weft/commands.hpp"

#include <weft/inspect.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace weft::tools {
namespace {

using json = nlohmann::ordered_json;

/// What somebody should do: a line each.
using advice = std::vector<std::string>;

/// "used", or why not.
std::string use_of(const std::string& why_not) {
  return why_not.empty() ? "used" : "not used: " + why_not;
}

void show_rail(const rail_status& rail, json& document, bool silent, advice& todo) {
  auto gids = json::array();
  if (!silent) {
    fmt::print("rail {}  {}, {}, {:g} Gb/s, {} of {} bytes a packet; {}\n", rail.name, rail.state, rail.link_layer,
               rail.gbits, rail.mtu, rail.largest_mtu, use_of(rail.why_not));
  }
  for (const auto& gid : rail.gids) {
    gids.push_back({{"index", gid.index},
                    {"type", gid.type},
                    {"address", gid.address},
                    {"interface", gid.interface},
                    {"why_not", gid.why_not}});
    if (!silent) {
      fmt::print("  gid {}  {}  {}  {}; {}\n", gid.index, gid.type, gid.address, gid.interface, use_of(gid.why_not));
    }
  }
  document.push_back({{"name", rail.name},
                      {"state", rail.state},
                      {"link_layer", rail.link_layer},
                      {"gbits", rail.gbits},
                      {"mtu", rail.mtu},
                      {"largest_mtu", rail.largest_mtu},
                      {"gids", std::move(gids)},
                      {"why_not", rail.why_not}});
  if (rail.why_not.empty() && rail.mtu < rail.largest_mtu) {
    todo.push_back(
        fmt::format("rail {}: a packet carries {} bytes of {}: give its interface, and the switches, a larger MTU "
                    "(4200 for 4096)",
                    rail.name, rail.mtu, rail.largest_mtu));
  }
}

void show_host(command_context& context, const std::string& transport, advice& todo) {
  const auto host = inspect_host(context.settings.configuration);
  const bool bound = host.memlock && ::geteuid() != 0;
  auto rails = json::array();
  if (!context.json) {
    fmt::print("transport={}; memory that may be locked: {}{}\n", transport,
               host.memlock ? fmt::format("{} KiB", *host.memlock / 1024) : "no limit",
               host.memlock && !bound ? " (root is not bound by that)" : "");
    if (host.rails.empty()) fmt::print("no RDMA device, or none that this process may use\n");
  }
  for (const auto& rail : host.rails) show_rail(rail, rails, context.json, todo);
  if (bound && !host.rails.empty() && *host.memlock < (std::uint64_t{1} << 30)) {
    todo.push_back(
        fmt::format("{} KiB of memory may be locked: regions beyond that cannot be registered; raise it with ulimit "
                    "-l or LimitMEMLOCK=, or give the container CAP_IPC_LOCK",
                    *host.memlock / 1024));
  }
  context.document.update({{"transport", transport}, {"rails", std::move(rails)}});
  context.document["memlock"] = host.memlock ? json(*host.memlock) : json(nullptr);
}

void show_sharing(command_context& context, advice& todo) {
  const auto found = inspect_sharing(context.settings.configuration);
  if (!context.json) {
    if (found.page.empty()) {
      fmt::print("host.share=off: bulk data makes no room for the realtime traffic of other processes\n");
    } else if (found.why_not.empty()) {
      fmt::print("host.share={}: open fabrics: {}, {} with realtime traffic and {} with bulk data in the last "
                 "second ({})\n",
                 found.with, found.fabrics, found.realtime, found.bulk, found.page);
    } else {
      fmt::print("host.share={}: does not work: {}\n", found.with, found.why_not);
    }
  }
  if (!found.why_not.empty()) {
    todo.push_back(fmt::format("bulk data makes no room for the realtime traffic of other processes on this host: {}",
                               found.why_not));
  }
  context.document["sharing"] = {{"with", found.with},         {"page", found.page}, {"fabrics", found.fabrics},
                                 {"realtime", found.realtime}, {"bulk", found.bulk}, {"why_not", found.why_not}};
}

json to_json(const path_status& path) {
  auto lanes = json::array();
  for (const auto each : path.lanes) lanes.push_back(name(each));
  return {{"transport", path.transport},  {"from", path.from},         {"to", path.to},          {"works", path.works},
          {"took_ns", path.took.count()}, {"lanes", std::move(lanes)}, {"why_not", path.why_not}};
}

void print(const path_status& path) {
  if (path.to.empty()) return fmt::print("  {}  none: {}\n", path.transport, path.why_not);
  std::vector<std::string_view> lanes;
  for (const auto each : path.lanes) lanes.push_back(name(each));
  fmt::print("  {}  {} -> {}  ", path.transport, path.from.empty() ? "?" : path.from, path.to);
  if (!path.works) {
    fmt::print("does not work: {}\n", path.why_not);
  } else {
    fmt::print("works ({:.1f} ms); {}\n", static_cast<double>(path.took.count()) / 1e6,
               !lanes.empty() ? fmt::format("used by {}", fmt::join(lanes, ", "))
                              : use_of(path.why_not.empty() ? "other lanes or links use it" : path.why_not));
  }
}

/// Errors: those of connecting.
result<void> show_peer(command_context& context, fabric& on, const std::string& address, json& document) {
  auto& told = document.emplace_back(json{{"address", address}});
  const auto failed = [&](error_code code) {
    const auto why = failure_of(code, {}, address);
    told["error"] = {{"code", name(why.code())}, {"where", why.where()}};
    if (!context.json) fmt::print("peer {}  cannot be reached: {}\n", address, make_error_code(why.code()).message());
    return why;
  };
  pending<link> connecting;
  on.connect(address, connecting.handler());
  auto connected = connecting.get(context.signals);
  if (connected.code) return failed(connected.code);
  told["name"] = connected.value.peer();
  pending<std::vector<path_status>> looking;
  connected.value.inspect_paths(looking.handler());
  const auto found = looking.get(context.signals);
  if (found.code) return failed(found.code);
  if (!context.json) fmt::print("peer {}  {}\n", address, connected.value.peer());
  auto paths = json::array();
  for (const auto& path : found.value) {
    paths.push_back(to_json(path));
    if (!context.json) print(path);
  }
  told["paths"] = std::move(paths);
  return {};
}

} // namespace

result<void> doctor(command_context& context, const doctor_arguments& arguments) {
  context.document = {{"command", "doctor"}};
  auto& configuration = context.settings.configuration;
  advice todo;
  show_host(context, configuration.get("transport").value(), todo);
  show_sharing(context, todo);
  result<void> ended;
  auto peers = json::array();
  if (!arguments.peers.empty()) {
    auto on = fabric::open(configuration);
    if (!on) ended = on.error();
    for (const auto& address : arguments.peers) {
      if (!on || context.signals.requested()) break;
      const auto shown = show_peer(context, *on, address, peers);
      if (!shown && ended) ended = shown;
    }
  }
  context.document.update({{"peers", std::move(peers)}, {"advice", todo}});
  if (!context.json) {
    for (const auto& line : todo) fmt::print("advice: {}\n", line);
  }
  return ended;
}

} // namespace weft::tools
