// What one lane is loaded with, as `--lane` of `fabric-bench mixed` says it. Values and pure functions.
#pragma once

#include <weft/error.hpp>
#include <weft/lane.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::tools {

struct lane_plan {
  weft::lane lane = weft::lane::bulk;
  std::uint64_t size = 0;    ///< of a request, or of a transfer
  double rate = 0;           ///< requests per second, open loop; 0: transfers, as many as go
  std::uint32_t streams = 0; ///< transfers in flight
  bool write = true;         ///< transfers: or reads
  std::vector<std::pair<std::string, std::string>> settings = {}; ///< of the lane, for the fabric

  [[nodiscard]] bool paced() const noexcept { return rate > 0; }
};

/// `realtime:size=4K,rate=2000/s` or `bulk:size=4M,streams=8,op=read,weight=4,min=50MB/s,limit=2Gb/s`. Errors:
/// invalid_argument.
[[nodiscard]] result<lane_plan> parse_lane_plan(std::string_view text);

/// "2000", "2000/s" or "2k/s", per second; `option` is for the error.
[[nodiscard]] result<double> read_rate(std::string_view option, std::string_view text);

} // namespace weft::tools
