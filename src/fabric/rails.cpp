#include "fabric/rails.hpp"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>

namespace weft::fabrics {
namespace {

namespace ip = boost::asio::ip;

/// Of an interface that was not found, or is of another network namespace: all such count as one rail.
constexpr std::uint32_t no_interface = ~std::uint32_t{0};

ip::address plain(const ip::address& from) {
  if (from.is_v6() && from.to_v6().is_v4_mapped()) return ip::make_address_v4(ip::v4_mapped, from.to_v6());
  return from;
}

bool has(const ifaddrs& each, const ip::address& wanted) {
  if (each.ifa_addr == nullptr) return false;
  if (wanted.is_v4() && each.ifa_addr->sa_family == AF_INET) {
    sockaddr_in at{};
    std::memcpy(&at, each.ifa_addr, sizeof at);
    // All of the loopback's network is this host.
    if (wanted.is_loopback() && (each.ifa_flags & IFF_LOOPBACK) != 0) return true;
    return ntohl(at.sin_addr.s_addr) == wanted.to_v4().to_uint();
  }
  if (wanted.is_v6() && each.ifa_addr->sa_family == AF_INET6) {
    sockaddr_in6 at{};
    std::memcpy(&at, each.ifa_addr, sizeof at);
    const bool zoned = wanted.to_v6().is_link_local(); // the same on every interface
    return std::memcmp(&at.sin6_addr, wanted.to_v6().to_bytes().data(), sizeof at.sin6_addr) == 0 &&
           (!zoned || at.sin6_scope_id == wanted.to_v6().scope_id());
  }
  return false;
}

/// The interface that has the address; empty: none has.
std::string interface_of(const ip::address& local) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return "";
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(all, ::freeifaddrs);
  for (const auto* each = all; each != nullptr; each = each->ifa_next) {
    if (!has(*each, local)) continue;
    const std::string_view name = each->ifa_name;
    return std::string(name.substr(0, name.find(':'))); // the rest is a label of the address
  }
  return "";
}

bool is_vlan(const std::string& interface) {
  std::ifstream properties("/sys/class/net/" + interface + "/uevent");
  for (std::string line; std::getline(properties, line);) {
    if (line == "DEVTYPE=vlan") return true;
  }
  return false;
}

/// What a VLAN lies on. A bond is a wire of its own, and so is a bridge.
std::string below(std::string interface) {
  constexpr int most_levels = 8;
  constexpr std::string_view lower = "lower_";
  for (int i = 0; i < most_levels && is_vlan(interface); ++i) {
    std::error_code failed;
    auto each = std::filesystem::directory_iterator("/sys/class/net/" + interface, failed);
    const auto end = std::filesystem::directory_iterator();
    while (!failed && each != end && !each->path().filename().string().starts_with(lower)) each.increment(failed);
    if (failed || each == end) return interface;
    interface = each->path().filename().string().substr(lower.size());
  }
  return interface;
}

/// In megabits; a virtual one says -1, or nothing.
bytes_per_second rate_of(const std::string& interface) {
  std::int64_t megabits = -1;
  std::ifstream("/sys/class/net/" + interface + "/speed") >> megabits;
  return bytes_per_second(megabits > 0 ? static_cast<std::uint64_t>(megabits) * 125'000 : 0);
}

} // namespace

const rail& rails::of(const ip::address& local) {
  const auto wanted = plain(local);
  std::unique_lock lock(mutex_);
  if (const auto found = by_address_.find(wanted); found != by_address_.end()) return *found->second;
  const auto name = below(interface_of(wanted));
  const auto index = name.empty() ? 0 : ::if_nametoindex(name.c_str());
  const auto slot = board_.rail_of(index == 0 ? no_interface : index);
  const auto same = std::ranges::find(all_, slot, &rail::slot);
  const bool is_new = same == all_.end();
  if (is_new) all_.push_back(index == 0 ? rail{slot, "unknown"} : rail{slot, name, rate_of(name)});
  const auto& one = is_new ? all_.back() : *same;
  if (index != 0) by_address_.emplace(wanted, &one); // else it may be told next time
  lock.unlock();
  if (is_new) found_(one);
  return one;
}

std::vector<const rail*> rails::known() const {
  const std::lock_guard lock(mutex_);
  std::vector<const rail*> found;
  for (const auto& each : all_) found.push_back(&each);
  return found;
}

} // namespace weft::fabrics
