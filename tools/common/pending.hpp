// An asynchronous operation of the library that a command waits for on its own thread.
#pragma once

#include "common/interrupt.hpp"

#include <weft/error.hpp>

#include <chrono>
#include <functional>
#include <future>
#include <utility>

namespace weft::tools {

template <class Result>
struct outcome {
  error_code code;
  Result value;
};

template <class Result>
class pending {
public:
  /// The completion handler to start the operation with. The promise travels in it, so that neither side can outlive
  /// what it touches.
  [[nodiscard]] auto handler() {
    std::promise<outcome<Result>> promise;
    future_ = promise.get_future();
    return [promise = std::move(promise)](error_code code, auto&&... values) mutable {
      promise.set_value({code, Result{std::forward<decltype(values)>(values)...}});
    };
  }

  /// Waits for the end.
  [[nodiscard]] outcome<Result> get() { return future_.get(); }

  /// Waits for the end; asked to stop meanwhile, it answers `cancelled` and leaves the operation to the end of its
  /// fabric. `tick` is called several times a second.
  [[nodiscard]] outcome<Result> get(interrupt& signals, const std::function<void()>& tick = {}) {
    while (future_.wait_for(std::chrono::milliseconds{50}) != std::future_status::ready) {
      if (signals.requested()) return {errc::cancelled, Result{}};
      if (tick) tick();
    }
    return future_.get();
  }

private:
  std::future<outcome<Result>> future_;
};

} // namespace weft::tools
