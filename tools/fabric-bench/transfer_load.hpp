// Keeps a number of writes or reads in flight to one peer and counts what comes back. Lives on one executor, that of
// the lane's thread, so that an operation's completion starts the next one without a hop or a lock.
#pragma once

#include "base/histogram.hpp"

#include <weft/link.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>

namespace weft::tools {

struct transfer_plan {
  bool write = true;
  weft::lane lane = weft::lane::bulk;
  std::uint64_t size = 0;
  std::uint32_t depth = 1;
  std::uint64_t first_offset = 0; ///< in both regions; the slots follow each other from there on
  std::uint64_t iterations = 0;   ///< 0: until the duration is over
  std::chrono::nanoseconds warm_up{0};
  std::chrono::nanoseconds duration{0};
};

struct transfer_count {
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds elapsed{0};
  histogram latencies;
  std::uint64_t errors = 0;
  std::string first_error;
};

/// Shared, because its own handlers keep it as well as whoever waits for it.
class transfer_load : public std::enable_shared_from_this<transfer_load> {
public:
  transfer_load(link to, region local, remote_region remote, transfer_plan plan, boost::asio::any_io_executor executor);

  /// Starts; ready when the last operation is back. Once only.
  [[nodiscard]] std::future<transfer_count> run();

private:
  using clock = std::chrono::steady_clock;

  void issue(std::uint32_t slot);
  void complete(std::uint32_t slot, clock::time_point sent, error_code code, const transfer_result& done);
  [[nodiscard]] bool finished(clock::time_point now) const noexcept;

  link link_;
  region local_;
  remote_region remote_;
  transfer_plan plan_;
  boost::asio::any_io_executor executor_;
  std::promise<transfer_count> promise_;
  transfer_count count_;
  std::uint64_t issued_ = 0;
  std::uint32_t in_flight_ = 0;
  clock::time_point measured_from_;
  clock::time_point end_;
};

} // namespace weft::tools
