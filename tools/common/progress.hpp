// A progress bar on standard error, drawn only if that is a terminal. Used on one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace weft::tools {

class progress {
public:
  /// `total` in bytes. `label` names what moves.
  progress(std::string label, std::uint64_t total);
  ~progress();
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;

  /// Draws at most ten times a second.
  void update(std::uint64_t done);

private:
  using clock = std::chrono::steady_clock;

  std::string label_;
  std::uint64_t total_;
  bool terminal_;
  bool drawn_ = false;
  clock::time_point begin_ = clock::now();
  clock::time_point next_ = begin_;
};

} // namespace weft::tools
