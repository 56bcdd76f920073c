// Counters of a fabric at one moment.
#pragma once

#include <weft/lane.hpp>

#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

namespace weft {

/// Of the transfers of one lane.
struct lane_metrics {
  std::uint64_t slices_sent = 0;
  std::uint64_t bytes_sent = 0;      ///< of slices, those sent again too
  std::uint64_t bytes_delivered = 0; ///< what the peers said that they have verified
  std::uint64_t bytes_received = 0;  ///< of slices that were verified here

  lane_metrics& operator+=(const lane_metrics& more) noexcept {
    slices_sent += more.slices_sent;
    bytes_sent += more.bytes_sent;
    bytes_delivered += more.bytes_delivered;
    bytes_received += more.bytes_received;
    return *this;
  }
};

/// How long something took, how often.
struct lag_metrics {
  /// The first one counts what took less than 1 us, each further one what took less than twice that; the last one all
  /// that took longer.
  std::array<std::uint64_t, 24> counts = {};

  /// What all of the first `index + 1` took less than.
  [[nodiscard]] static constexpr std::chrono::nanoseconds bound(std::size_t index) noexcept {
    return std::chrono::microseconds(std::int64_t{1} << index);
  }
  [[nodiscard]] std::uint64_t total() const noexcept {
    return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
  }
  /// The bound that the given share of them lie below; zero if there are none. What is longer than all counts as the
  /// last one.
  [[nodiscard]] std::chrono::nanoseconds below(double share) const noexcept {
    auto left = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total())));
    if (left == 0) return std::chrono::nanoseconds::zero();
    std::size_t index = 0;
    while (index + 1 < counts.size() && counts[index] < left) left -= counts[index++];
    return bound(index);
  }
};

/// What the transfers of all data threads have under way on a rail. It follows the network, see the README.
struct budget_metrics {
  std::uint64_t limit = 0;     ///< bytes that may be, now
  std::uint64_t under_way = 0; ///< bytes that are, now
  bool crowded = false;        ///< realtime traffic was about in the last second
};

/// How often slices that were ready did not go on at once, by what held them back.
struct wait_metrics {
  std::uint64_t budget = 0;
  std::uint64_t limit = 0;   ///< of their lane
  std::uint64_t channel = 0; ///< it was full, or the peer had not taken enough
};

/// Of one rail, which channels of the fabric go or went over.
struct rail_metrics {
  std::string name; ///< of its network interface
  budget_metrics budget = {};
  wait_metrics waits = {};
  /// From when a realtime message was handed to the network until it had arrived, of a sample of them: over TCP alone,
  /// every 250 us beside bulk, else every 5 ms. What it waits for behind bulk is in it.
  lag_metrics realtime_arrival = {};
};

/// All count from the start of the fabric.
struct metrics {
  std::array<lane_metrics, lane_count> lanes = {}; ///< by lane
  std::vector<rail_metrics> rails = {};
  bool crowded = false; ///< realtime traffic was about in the last second, on any rail that this host knows of
  /// From the call that begins a realtime operation on a thread of the caller's until the realtime thread had it.
  lag_metrics realtime_pickup = {};
  std::uint64_t links = 0;      ///< alive now
  std::uint64_t operations = 0; ///< outstanding now
  std::uint64_t slices_resent = 0;
  std::uint64_t slices_verified = 0;
  std::uint64_t slices_refused = 0; ///< failed the receiver's check here
  std::uint64_t slices_dropped = 0; ///< late or repeated
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_repeated = 0;
  std::uint64_t forced_fences = 0;
  std::uint64_t collateral = 0; ///< transfers that resumed because a channel was closed for another's sake
  std::uint64_t operations_failed = 0;
  std::uint64_t refused = 0;          ///< sessions, and connections and queue pairs of no link; why is logged
  std::uint64_t broken_links = 0;     ///< ended because the peer broke the protocol
  std::uint64_t tcp_fallbacks = 0;    ///< links over TCP though an end of them has RDMA rails; why is logged
  std::uint64_t realtime_demoted = 0; ///< operations of this end beyond lane.realtime.limit: they went over standard

  [[nodiscard]] const lane_metrics& of(lane which) const noexcept { return lanes[static_cast<std::size_t>(which)]; }
  /// Of all lanes together.
  [[nodiscard]] lane_metrics all_lanes() const noexcept {
    lane_metrics sum;
    for (const auto& each : lanes) sum += each;
    return sum;
  }
};

} // namespace weft
