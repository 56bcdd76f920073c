// A rail's RDMA face: one port of a device, its protection domain, the addresses it is reached at, and the regions it
// knows. The fabric owns the set; it is constant once found, and any thread may use it.
#pragma once

#include "base/rail_list.hpp"
#include "memory/registration.hpp"
#include "path/verbs/calls.hpp"

#include "weft/error.hpp"

#include <boost/asio/ip/address.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::path::verbs {

struct rail {
  const calls& by;
  std::size_t index;    ///< among the fabric's rails: where its key stands in a registration
  ibv_context* context; ///< librdmacm's, for the life of the process
  std::uint8_t port;
  std::string name; ///< "mlx5_0:1"
  ibv_device_attr device;
  ibv_port_attr state;                             ///< as it was found
  std::vector<boost::asio::ip::address> addresses; ///< of its RoCE v2 GIDs, without those that only reach the segment
  std::optional<std::uint32_t> gid_index; ///< the one that verbs.rails names; none: whichever leads to the peer
  protection_domain domain;
};

/// librdmacm opens the devices once for a process, and what a child of it inherits of that is dead: whether this is
/// such a child. To be asked before anything else is.
[[nodiscard]] bool devices_are_inherited();

/// "mlx5_0:1"
[[nodiscard]] std::string rail_name(const calls& by, ibv_context* context, std::uint8_t port);
/// The address that a RoCE v2 GID stands for.
[[nodiscard]] boost::asio::ip::address address_of(const ibv_gid& gid);

/// A rail of this host that cannot be used, and why.
struct unusable_rail {
  std::string name;
  std::string why;
};

class rail_set {
public:
  /// No rails.
  rail_set() = default;
  /// The active ports of those RDMA devices that `chosen` names. A host without any has an empty set: that is no error.
  static rail_set find(const calls& by, const rail_list& chosen);

  [[nodiscard]] const std::vector<rail>& rails() const noexcept { return rails_; }
  [[nodiscard]] const std::vector<unusable_rail>& unusable() const noexcept { return unusable_; }
  [[nodiscard]] const rail* of(const ibv_context* context, std::uint8_t port) const noexcept;

  /// Regions of one memory, on every rail. Their keys are valid as long as they live.
  struct registered {
    std::vector<memory_region> regions;
    [[nodiscard]] std::vector<rail_key> keys() const;
  };
  /// All rails, or none. Pins the memory; takes about 80 ms/GB on real devices (facts: lanes and performance, 2.1).
  /// Errors: out_of_memory, invalid_argument, os_failure, naming rail, size and what to do.
  [[nodiscard]] result<registered> add(std::span<std::byte> bytes) const;

private:
  std::vector<rail> rails_;
  std::vector<unusable_rail> unusable_;
};

} // namespace weft::path::verbs
