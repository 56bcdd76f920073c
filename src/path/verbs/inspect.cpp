#include "weft/inspect.hpp"

#include "base/tunables.hpp"
#include "path/verbs/rail.hpp"

#include <net/if.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>

namespace weft {
namespace {

using namespace path::verbs;

constexpr std::size_t most_gids = 256;

std::uint32_t bytes_of(ibv_mtu mtu) {
  return 128U << static_cast<unsigned>(mtu);
}

const char* type_of(const ibv_gid_entry& entry) {
  switch (entry.gid_type) {
    case IBV_GID_TYPE_IB: return "InfiniBand";
    case IBV_GID_TYPE_ROCE_V1: return "RoCE v1";
    case IBV_GID_TYPE_ROCE_V2: return "RoCE v2";
    default: return "unknown";
  }
}

const char* layer_of(const ibv_port_attr& port) {
  switch (port.link_layer) {
    case IBV_LINK_LAYER_ETHERNET: return "Ethernet";
    case IBV_LINK_LAYER_INFINIBAND: return "InfiniBand";
    default: return "unspecified";
  }
}

/// Of all lanes together, as InfiniBand's encodings of both say (IBA 14.2.5.6).
double gbits_of(const ibv_port_attr& port) {
  const auto lanes = [&] {
    switch (port.active_width) {
      case 1: return 1;
      case 2: return 4;
      case 4: return 8;
      case 8: return 12;
      case 16: return 2;
      default: return 0;
    }
  }();
  const auto each = [&] {
    switch (port.active_speed) {
      case 1: return 2.5;
      case 2: return 5.0;
      case 4:
      case 8: return 10.0;
      case 16: return 14.0;
      case 32: return 25.0;
      case 64: return 50.0;
      case 128: return 100.0;
      default: return 0.0;
    }
  }();
  return lanes * each;
}

std::vector<gid_status> gids_of(const calls& by, ibv_context* context, std::uint8_t port, const rail* used) {
  std::vector<ibv_gid_entry> entries(most_gids);
  const auto count = by.query_gid_table(context, entries.data(), entries.size());
  std::vector<gid_status> all;
  for (ssize_t i = 0; i < count; ++i) {
    const auto& entry = entries[static_cast<std::size_t>(i)];
    if (entry.port_num != port) continue;
    const auto address = address_of(entry.gid);
    std::array<char, IF_NAMESIZE> name{};
    gid_status told{.index = entry.gid_index,
                    .type = type_of(entry),
                    .address = address.to_string(),
                    .interface = {},
                    .why_not = {}};
    if (entry.ndev_ifindex != 0 && ::if_indextoname(entry.ndev_ifindex, name.data()) != nullptr)
      told.interface = name.data();
    const bool named = used == nullptr || used->gid_index.value_or(entry.gid_index) == entry.gid_index;
    const bool taken =
        used != nullptr && named && std::count(used->addresses.begin(), used->addresses.end(), address) > 0;
    if (entry.gid_type != IBV_GID_TYPE_ROCE_V2) {
      told.why_not = "it is not RoCE v2";
    } else if (address.is_v6() && address.to_v6().is_link_local()) {
      told.why_not = "it cannot be routed";
    } else if (!taken) {
      told.why_not = used == nullptr ? "the rail is not used" : "verbs.rails names another one";
    }
    all.push_back(std::move(told));
  }
  return all;
}

} // namespace

host_status inspect_host(const config& settings) {
  host_status host;
  if (rlimit limit{}; ::getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    host.memlock = limit.rlim_cur;
  }
  if (devices_are_inherited()) return host;
  const auto& by = calls_in_use();
  const auto usable = rail_set::find(by, settings.values().verbs_rails);
  for (const auto& each : usable.unusable()) {
    host.rails.push_back({.name = each.name, .state = {}, .link_layer = {}, .gids = {}, .why_not = each.why});
  }
  int count = 0;
  ibv_context** contexts = by.get_devices(&count);
  if (contexts == nullptr) return host;
  for (int i = 0; i < count; ++i) {
    ibv_device_attr device{};
    if (by.query_device(contexts[i], &device) != 0) continue; // it is among those that are not usable
    for (std::uint8_t port = 1; port <= device.phys_port_cnt; ++port) {
      ibv_port_attr state{};
      if (by.query_port(contexts[i], port, &state) != 0) continue;
      const auto name = rail_name(by, contexts[i], port);
      auto known =
          std::find_if(host.rails.begin(), host.rails.end(), [&](const auto& each) { return each.name == name; });
      if (known == host.rails.end())
        known = host.rails.insert(known,
                                  rail_status{.name = name, .state = {}, .link_layer = {}, .gids = {}, .why_not = {}});
      known->state = ::ibv_port_state_str(state.state);
      known->link_layer = layer_of(state);
      known->gbits = gbits_of(state);
      known->mtu = bytes_of(state.active_mtu);
      known->largest_mtu = bytes_of(state.max_mtu);
      known->gids = gids_of(by, contexts[i], port, usable.of(contexts[i], port));
    }
  }
  by.free_devices(contexts);
  std::sort(host.rails.begin(), host.rails.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return host;
}

} // namespace weft
