// Signals are taken with sigtimedwait(): no handler, hence no global state.
#include "common/interrupt.hpp"

#include <csignal>
#include <ctime>

namespace weft::tools {
namespace {

sigset_t ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

} // namespace

interrupt::interrupt() {
  const auto set = ending_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

bool interrupt::requested() {
  const auto set = ending_signals();
  const timespec now{};
  if (!requested_ && sigtimedwait(&set, nullptr, &now) > 0) requested_ = true;
  return requested_;
}

void interrupt::wait() {
  const auto set = ending_signals();
  while (!requested_) {
    if (sigwaitinfo(&set, nullptr) > 0) requested_ = true;
  }
}

} // namespace weft::tools
