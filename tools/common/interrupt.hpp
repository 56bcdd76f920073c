// SIGINT and SIGTERM as a question instead of a surprise, so that a command removes its temporary file and a server
// drains. One per program, made first in main() so that all threads inherit the blocked signals; asked on its thread.
#pragma once

namespace weft::tools {

class interrupt {
public:
  /// Blocks both signals, and ignores SIGPIPE: a closed pipe is an error of write().
  interrupt();

  /// Whether one has arrived; never waits.
  [[nodiscard]] bool requested();
  /// Returns when one has arrived.
  void wait();

private:
  bool requested_ = false;
};

} // namespace weft::tools
