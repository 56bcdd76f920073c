// Facts from the kernel's own files.
#include "fabric-bench/context.hpp"

#include <cstdlib>
#include <fstream>
#include <limits>
#include <thread>

#include <sys/utsname.h>

namespace weft::tools {
namespace {

std::string first_word_of(const char* path) {
  std::string word;
  std::ifstream{path} >> word;
  return word;
}

} // namespace

bench_context measure_context() {
  bench_context here;
  utsname system = {};
  if (::uname(&system) == 0) here.kernel = system.release;
  here.cpus = std::thread::hardware_concurrency();
  here.governor = first_word_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
  here.congestion_control = first_word_of("/proc/sys/net/ipv4/tcp_congestion_control");
  if (::getloadavg(&here.load, 1) != 1) here.load = std::numeric_limits<double>::quiet_NaN();
  return here;
}

} // namespace weft::tools
