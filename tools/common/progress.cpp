// Draws one line over and over, and wipes it at the end: the command's own report is what stays.
#include "common/progress.hpp"

#include <weft/units.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include <unistd.h>

namespace weft::tools {

progress::progress(std::string label, std::uint64_t total)
    : label_(std::move(label)), total_(total), terminal_(::isatty(STDERR_FILENO) != 0) {}

progress::~progress() {
  if (drawn_) fmt::print(stderr, "\r\033[K");
}

void progress::update(std::uint64_t done) {
  const auto now = clock::now();
  if (!terminal_ || total_ == 0 || now < next_) return;
  next_ = now + std::chrono::milliseconds{100};
  drawn_ = true;
  done = std::min(done, total_);
  constexpr std::uint64_t width = 30;
  // Shares are taken in 1/1024 of the total, so that no product of two large numbers is needed.
  const auto share = total_ < 1024 ? done * 1024 / total_ : std::min<std::uint64_t>(done / (total_ / 1024), 1024);
  const auto rate = bytes_per_second{byte_count{done}, now - begin_};
  fmt::print(stderr, "\r\033[K{} [{:-<{}}] {:3}% {}", label_, std::string(share * width / 1024, '#'), width,
             share * 100 / 1024, to_string(rate));
  std::fflush(stderr);
}

} // namespace weft::tools
