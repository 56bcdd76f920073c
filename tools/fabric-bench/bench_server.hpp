// The passive side of a benchmark: publishes a region "bench" and echoes requests. Owned by main; its work is done on
// the fabric's threads.
#pragma once

#include <weft/fabric.hpp>

#include <cstdint>
#include <string>

namespace weft::tools {

inline constexpr const char* bench_region = "bench";
inline constexpr std::uint64_t bench_seed = 1; ///< of the pattern that the region holds
inline constexpr std::uint64_t default_bench_region = 256 << 20;

class bench_server {
public:
  /// Listens at HOST:PORT. Errors: those of fabric::open, out_of_memory.
  [[nodiscard]] static result<bench_server> start(config settings, const std::string& listen, std::uint64_t size);

  [[nodiscard]] const std::string& address() const noexcept { return fabric_.address(); }
  [[nodiscard]] fabric& on() noexcept { return fabric_; }

private:
  explicit bench_server(fabric on) : fabric_(std::move(on)) {}

  fabric fabric_;
  region memory_;
};

} // namespace weft::tools
