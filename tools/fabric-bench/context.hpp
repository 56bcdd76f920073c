// What of this machine a reader of the numbers must know. Read once, on the main thread.
#pragma once

#include <string>

namespace weft::tools {

struct bench_context {
  std::string kernel;
  unsigned cpus = 0;
  std::string governor; ///< of the CPU's frequency; empty where there is none
  std::string congestion_control;
  double load = 0; ///< average of the last minute
};

[[nodiscard]] bench_context measure_context();

} // namespace weft::tools
