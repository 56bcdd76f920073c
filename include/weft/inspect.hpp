// What this host has to carry data with, and which ways lead to a peer: what `weft doctor` shows. Values; any thread.
#pragma once

#include <weft/config.hpp>
#include <weft/export.hpp>
#include <weft/lane.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft {

/// An entry of a port's GID table.
struct gid_status {
  std::uint32_t index = 0;
  std::string type;      ///< "RoCE v1", "RoCE v2", "InfiniBand"
  std::string address;   ///< as an IP address
  std::string interface; ///< the network interface that it belongs to
  std::string why_not;   ///< it is not used; empty: it is
};

/// A port of an RDMA device.
struct rail_status {
  std::string name; ///< "mlx5_0:1"
  std::string state;
  std::string link_layer;
  double gbits = 0; ///< nominal, per second
  std::uint32_t mtu = 0;
  std::uint32_t largest_mtu = 0;
  std::vector<gid_status> gids;
  std::string why_not; ///< as above
};

struct host_status {
  std::vector<rail_status> rails;
  std::optional<std::uint64_t> memlock; ///< bytes that this process may lock; none: no limit
};

/// What a fabric with these settings would find. Errors: none. A host without an RDMA device has no rails, nor has a
/// process that may not use it, or is the child of one that did.
[[nodiscard]] WEFT_API host_status inspect_host(const config& settings);

/// Who shares the rails of this host knowingly: what of it bulk data makes room for.
struct sharing_status {
  std::string with;         ///< host.share: "user", "group", "off"
  std::string page;         ///< the file through which they know of each other; empty: off
  std::size_t fabrics = 0;  ///< that are open, in all processes
  std::size_t realtime = 0; ///< of which had realtime traffic in the last second
  std::size_t bulk = 0;     ///< of which sent bulk data in the last second
  std::string why_not;      ///< a fabric could not take part; empty: it could
};

/// What a fabric with these settings would find. Errors: none.
[[nodiscard]] WEFT_API sharing_status inspect_sharing(const config& settings);

/// One way to a peer, as it was when it was tried.
struct path_status {
  std::string transport; ///< "verbs", "tcp"
  std::string from;      ///< rail or address at this end; empty: it was not found
  std::string to;        ///< address at the peer; empty: the peer offers none
  bool works = false;    ///< something went over it and came back
  std::chrono::nanoseconds took{};
  std::string why_not;     ///< it does not work, or is not used although it does
  std::vector<lane> lanes; ///< that go this way now, or would if they were used
};

} // namespace weft
