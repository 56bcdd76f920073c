// Sends requests to one peer and measures the full round trip: at a fixed rate, with latency from the time at which
// each was due (a late one counts as late), or one after the other. Lives on one executor, that of the lane's thread.
#pragma once

#include "base/histogram.hpp"

#include <weft/link.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

namespace weft::tools {

struct request_plan {
  weft::lane lane = weft::lane::realtime;
  std::uint64_t size = 4096;
  double rate = 0;              ///< per second; 0: closed loop
  std::uint32_t depth = 1;      ///< closed loop: requests outstanding at once
  std::uint64_t iterations = 0; ///< 0: until the duration is over
  std::chrono::nanoseconds warm_up{0};
  std::chrono::nanoseconds duration{0}; ///< may be long: stop() ends it before
  std::chrono::nanoseconds grace{0};    ///< an answer that comes so long after the end is in time
};

struct request_count {
  std::uint64_t operations = 0;
  std::uint64_t in_time = 0; ///< of them, those that were back in time
  std::chrono::nanoseconds elapsed{0};
  histogram latencies;
  std::uint64_t errors = 0;
  std::string first_error;
};

/// Shared, because its own handlers keep it as well as whoever waits for it.
class request_load : public std::enable_shared_from_this<request_load> {
public:
  /// `own`: where the answers are wanted; empty: on the thread of the lane.
  request_load(link to, request_plan plan, boost::asio::any_io_executor own = {});

  /// Starts; ready when the last answer is back. Once only.
  [[nodiscard]] std::future<request_count> run();
  /// Sends nothing more from now on. From any thread.
  void stop();

private:
  using clock = std::chrono::steady_clock;

  void send_due();
  void wait_until(clock::time_point due);
  void send(clock::time_point due);
  void complete(clock::time_point due, error_code code, const response& answer);
  void end_if_idle();
  [[nodiscard]] bool finished(clock::time_point next) const noexcept;

  link link_;
  request_plan plan_;
  boost::asio::any_io_executor own_;
  boost::asio::any_io_executor executor_; ///< that, or the lane's
  boost::asio::steady_timer timer_;
  std::promise<request_count> promise_;
  request_count count_;
  std::vector<std::byte> payload_;
  std::uint64_t sent_ = 0;
  std::uint64_t outstanding_ = 0;
  bool sending_ = true;
  bool held_ = false; ///< too many are outstanding: the next answer goes on
  bool ended_ = false;
  clock::time_point begin_;
  clock::time_point measured_from_;
  clock::time_point end_;
};

} // namespace weft::tools
