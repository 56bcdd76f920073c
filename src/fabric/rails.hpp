// The rails of this host that the fabric's channels go over. A rail is one wire, whatever goes over it: an RDMA device,
// its network interface and the VLANs on that are one. It is found by the address at this end, which RoCE and TCP have
// alike.
#pragma once

#include "lane/host_board.hpp"

#include "weft/units.hpp"

#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace weft::fabrics {

/// Constant once it is known.
struct rail {
  std::size_t slot = 0;       ///< among those of the host's board
  std::string name = {};      ///< of the network interface
  bytes_per_second says = {}; ///< the rate that this says of itself; 0: it says none
};

/// Any thread may use it.
class rails {
public:
  static constexpr std::size_t most = lanes::board_entry::most_rails;

  /// `found` hears of each, once, from of(): on whatever thread asked for it first.
  rails(lanes::host_board& board, std::function<void(const rail&)> found) noexcept
      : board_(board), found_(std::move(found)) {}

  /// The one that `local`, an address of this host, is on, for as long as this lives. Asks the kernel until it
  /// has told of the address.
  [[nodiscard]] const rail& of(const boost::asio::ip::address& local);
  /// Those that were asked for.
  [[nodiscard]] std::vector<const rail*> known() const;

private:
  lanes::host_board& board_;
  const std::function<void(const rail&)> found_;
  mutable std::mutex mutex_;
  std::deque<rail> all_;
  std::map<boost::asio::ip::address, const rail*> by_address_;
};

} // namespace weft::fabrics
