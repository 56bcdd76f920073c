// Where events come from beside a thread's context: a completion queue, which is looked at and not waited for. Used on
// its thread.
#pragma once

#include <cstddef>

namespace weft::path {

class event_source {
public:
  virtual ~event_source() = default;
  /// Takes what has happened, without telling anybody; whether there is something.
  [[nodiscard]] virtual bool fetch() = 0;
  /// Tells what fetch took. Inside a batch.
  virtual void deliver() = 0;
  /// From now on an event wakes the thread's context. False: something has happened already, which fetch has taken.
  [[nodiscard]] virtual bool arm() = 0;
};

} // namespace weft::path
