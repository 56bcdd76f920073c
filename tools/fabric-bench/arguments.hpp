// What `fabric-bench` is asked for, read from its command line.
#pragma once

#include "common/command_line.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft::tools {

struct bench_arguments {
  common_settings common;
  std::string address; ///< empty: a server in this process, on loopback
  std::vector<std::string> urls;
  std::string listen;
  std::optional<std::uint64_t> size;
  bool all_sizes = false;
  std::chrono::nanoseconds duration = std::chrono::seconds{5};
  std::uint64_t iterations = 0;       ///< 0: as many as fit into the duration
  std::optional<std::uint32_t> depth; ///< operations outstanding at once
  std::string operation = "write";
  bool bidirectional = false;
  bool report_gbits = false;
  double rate = 2000; ///< requests per second
  bool closed_loop = false;
  bool own_context = false; ///< completions run on an io_context of the caller's own
  std::string plot;         ///< a file for the picture; empty: none
  std::vector<std::string> documents;
  std::vector<std::string> fail_if;
  std::uint64_t window = 64 << 20;
  std::uint64_t checkpoint = 0;
  std::vector<std::string> lanes = {"realtime:size=4KiB,rate=2000/s", "bulk:size=4MiB,streams=8"};
  bool naive = false;
  bool processes = false; ///< mixed: the paced loads in a process of their own
  std::string change;     ///< of settings in the middle of a mixed phase; empty: none
  std::string admin;      ///< serve: path of a socket for `weft lanes`; empty: none
  std::chrono::nanoseconds phase = std::chrono::milliseconds{150};
  std::uint32_t cycles = 10;
  std::uint32_t repeat = 5;
  double most_p99_ratio = 3;
  double least_kept = 0.85;
};

} // namespace weft::tools
