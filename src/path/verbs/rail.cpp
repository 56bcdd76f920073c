#include "path/verbs/rail.hpp"

#include "base/fork_mark.hpp"
#include "wire/frame.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

namespace ip = boost::asio::ip;

constexpr std::size_t most_gids = 256;

std::vector<ip::address> addresses_of(const calls& by, ibv_context* context, std::uint8_t port,
                                      std::optional<std::uint32_t> gid_index) {
  std::vector<ibv_gid_entry> entries(most_gids);
  const auto count = by.query_gid_table(context, entries.data(), entries.size());
  std::vector<ip::address> found;
  for (ssize_t i = 0; i < count; ++i) {
    const auto& entry = entries[static_cast<std::size_t>(i)];
    if (entry.port_num != port || entry.gid_type != IBV_GID_TYPE_ROCE_V2) continue;
    if (gid_index && entry.gid_index != *gid_index) continue;
    const auto address = address_of(entry.gid);
    const bool local = address.is_v6() && address.to_v6().is_link_local();
    if (!local && std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
  }
  return found;
}

std::string memlock() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return "unlimited";
  return fmt::format("{} KiB", limit.rlim_cur / 1024);
}

} // namespace

bool devices_are_inherited() {
  static const fork_mark first_use;
  return first_use.forked();
}

std::string rail_name(const calls& by, ibv_context* context, std::uint8_t port) {
  return fmt::format("{}:{}", by.get_device_name(context->device), port);
}

ip::address address_of(const ibv_gid& gid) {
  ip::address_v6::bytes_type bytes;
  std::memcpy(bytes.data(), gid.raw, bytes.size());
  const ip::address_v6 whole(bytes);
  if (whole.is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, whole);
  return whole;
}

rail_set rail_set::find(const calls& by, const rail_list& chosen) {
  rail_set set;
  std::vector<std::string> seen;
  int count = 0;
  ibv_context** contexts = by.get_devices(&count);
  // Null: no device, or a kernel without RDMA.
  for (int i = 0; contexts != nullptr && i < count; ++i) {
    ibv_device_attr device{};
    const std::string name = by.get_device_name(contexts[i]->device);
    if (const int code = by.query_device(contexts[i], &device); code != 0) {
      set.unusable_.push_back({name, fmt::format("query_device: {}", std::strerror(code))});
      seen.push_back(name + ":1"); // it is there
      continue;
    }
    for (std::uint8_t port = 1; port <= device.phys_port_cnt; ++port) {
      const auto named = rail_name(by, contexts[i], port);
      const auto unusable = [&](std::string why) { set.unusable_.push_back({named, std::move(why)}); };
      const auto wanted = chosen.of(name, port);
      seen.push_back(named);
      if (!wanted.used) {
        unusable(fmt::format("verbs.rails={} leaves it out", to_string(chosen)));
        continue;
      }
      ibv_port_attr state{};
      if (const int code = by.query_port(contexts[i], port, &state); code != 0) {
        unusable(fmt::format("query_port: {}", std::strerror(code)));
        continue;
      }
      if (set.rails_.size() == wire::most_rails) {
        unusable(fmt::format("a process uses {} rails at most", wire::most_rails));
        continue;
      }
      if (state.state != IBV_PORT_ACTIVE) {
        unusable("the port is not active");
        continue;
      }
      auto addresses = addresses_of(by, contexts[i], port, wanted.gid_index);
      if (addresses.empty()) {
        unusable(wanted.gid_index ? fmt::format("its GID index {}, which verbs.rails names, is no RoCE v2 address that "
                                                "can be routed",
                                                *wanted.gid_index)
                                  : "no RoCE v2 address that can be routed: give its network interface an IP address");
        continue;
      }
      protection_domain domain(by.alloc_pd(contexts[i]), {&by});
      if (!domain) {
        unusable(fmt::format("alloc_pd: {}", std::strerror(errno)));
        continue;
      }
      set.rails_.push_back({by, set.rails_.size(), contexts[i], port, named, device, state, std::move(addresses),
                            wanted.gid_index, std::move(domain)});
    }
  }
  if (contexts != nullptr) by.free_devices(contexts);
  for (auto& name : chosen.missing_in(seen)) {
    set.unusable_.push_back({std::move(name), "verbs.rails names it, and this host has no such device or port"});
  }
  return set;
}

const rail* rail_set::of(const ibv_context* context, std::uint8_t port) const noexcept {
  const auto found = std::find_if(rails_.begin(), rails_.end(),
                                  [&](const rail& each) { return each.context == context && each.port == port; });
  return found == rails_.end() ? nullptr : &*found;
}

std::vector<rail_key> rail_set::registered::keys() const {
  std::vector<rail_key> all;
  for (const auto& region : regions) all.push_back({region->lkey, region->rkey});
  return all;
}

result<rail_set::registered> rail_set::add(std::span<std::byte> bytes) const {
  registered all;
  for (const auto& each : rails_) {
    auto* region =
        each.by.reg_mr(each.domain.get(), bytes.data(), bytes.size(), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
    if (region != nullptr) {
      all.regions.emplace_back(region, freed_by<ibv_mr, &calls::dereg_mr>{&each.by});
      continue;
    }
    const int code = errno;
    auto what = fmt::format("rail {} cannot register {} bytes: {}", each.name, bytes.size(), std::strerror(code));
    if (code == ENOMEM) {
      return error(errc::out_of_memory,
                   what +
                       fmt::format("; memory that may be locked: {} (raise it with ulimit -l or LimitMEMLOCK=, or give "
                                   "the container CAP_IPC_LOCK)",
                                   memlock()));
    }
    return error(code == EFAULT || code == EINVAL ? errc::invalid_argument : errc::os_failure, std::move(what));
  }
  return all;
}

} // namespace weft::path::verbs
