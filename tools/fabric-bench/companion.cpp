#include "fabric-bench/companion.hpp"

#include <fmt/format.h>

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

namespace weft::tools {
namespace {

constexpr std::size_t longest_line = 4096;

error failure(const char* call) {
  return {errc::os_failure, fmt::format("--processes: {}: {}", call, std::strerror(errno))};
}

} // namespace

result<companion> companion::start(std::size_t count) {
  companion made;
  const auto bytes = count * sizeof(results);
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return failure("mmap");
  auto* first = static_cast<results*>(memory);
  std::uninitialized_value_construct_n(first, count);
  made.shared_ = {first, count};
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return failure("socketpair");
  const auto process = ::fork();
  if (process < 0) {
    const auto why = failure("fork");
    for (const int each : ends) ::close(each);
    return why;
  }
  made.process_ = process;
  made.socket_ = ends[process == 0 ? 1 : 0];
  ::close(ends[process == 0 ? 0 : 1]);
  return made;
}

companion::companion(companion&& from) noexcept
    : process_(std::exchange(from.process_, -1)), socket_(std::exchange(from.socket_, -1)),
      shared_(std::exchange(from.shared_, {})) {}

companion::~companion() {
  if (socket_ >= 0) ::close(socket_);
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
  if (!shared_.empty()) ::munmap(shared_.data(), shared_.size_bytes());
}

result<void> companion::tell(std::string_view line) {
  line = line.substr(0, longest_line);
  if (::send(socket_, line.data(), line.size(), MSG_NOSIGNAL) < 0) return failure("the other process is gone");
  return {};
}

result<std::string> companion::hear() {
  std::string line(longest_line, '\0');
  ssize_t length = 0;
  do length = ::recv(socket_, line.data(), line.size(), 0);
  while (length < 0 && errno == EINTR);
  if (length < 0) return failure("recv");
  if (length == 0) return error{errc::os_failure, "--processes: the other process has ended"};
  line.resize(static_cast<std::size_t>(length));
  return line;
}

void companion::put(std::size_t which, const mixed_cell& cell) noexcept {
  auto& to = shared_[which];
  to.latencies = cell.latencies;
  to.operations = cell.operations;
  to.seconds = cell.seconds;
  to.errors = cell.errors;
  to.first_error.fill('\0');
  std::copy_n(cell.first_error.data(), std::min(cell.first_error.size(), to.first_error.size() - 1),
              to.first_error.data());
}

void companion::add_to(std::size_t which, mixed_cell& cell) const {
  const auto& from = shared_[which];
  cell.add({.latencies = from.latencies,
            .operations = from.operations,
            .seconds = from.seconds,
            .errors = from.errors,
            .first_error = from.first_error.data()});
}

} // namespace weft::tools
