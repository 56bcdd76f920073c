// From a caller's handler to an operation of an engine and back: starts it on its lane's thread, connects the
// handler's cancellation slot, and completes on the handler's executor.
#pragma once

#include "fabric/link_core.hpp"

#include "weft/link.hpp"

#include <boost/asio/any_completion_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/system_executor.hpp>

#include <tuple>

namespace weft::fabrics {

/// A handler, with an executor of its own kept alive, that runs there exactly once and never inside the call that began
/// its operation. `thread` completes it, and is where a handler without an executor runs. One that is destroyed before
/// it was completed, because its fabric has ended, completes with `closed`.
template <class... Result>
class pending {
public:
  using handler = boost::asio::any_completion_handler<void(error_code, Result...)>;

  pending(handler then, worker& thread) : thread_(&thread), handler_(std::move(then)) {
    const auto executor = boost::asio::get_associated_executor(handler_, thread.executor());
    const auto* of_thread = executor.template target<boost::asio::io_context::executor_type>();
    // The thread outlives its handlers by itself.
    if (of_thread != nullptr && *of_thread == thread.executor()) return;
    own_ = boost::asio::prefer(executor, boost::asio::execution::outstanding_work.tracked);
  }
  pending(pending&&) noexcept = default;
  pending& operator=(pending&&) = delete;
  ~pending() {
    if (!handler_) return;
    // Its thread is no more: a handler without an executor of its own runs on the system's.
    boost::asio::post(boost::asio::system_executor(), [own = own_executor(), ending = bind()]() mutable {
      own ? boost::asio::dispatch(own, std::move(ending)) : ending();
    });
  }

  /// The end of an operation, on `thread` or elsewhere.
  void operator()(error_code code, Result&&... result) {
    if (!thread_->here() || thread_->initiating()) return later(code, std::move(result)...);
    if (!own_) return std::move(handler_)(code, std::move(result)...);
    code_ = code;
    result_ = {std::move(result)...};
    run();
  }

  /// The end of one that never began, or that ends inside the caller's own call.
  void later(error_code code, Result&&... result) {
    code_ = code;
    result_ = {std::move(result)...};
    thread_->post([self = std::move(*this)]() mutable { self.run(); });
  }

  [[nodiscard]] auto slot() const noexcept { return boost::asio::get_associated_cancellation_slot(handler_); }

private:
  void run() {
    if (const auto own = own_executor()) return boost::asio::dispatch(own, bind());
    // dispatch() would post what a completion queue delivers: that is outside the context's handlers.
    if (thread_->here()) return bind()();
    boost::asio::dispatch(thread_->executor(), bind());
  }

  /// Without the work, which the call takes along: once that was handed on, the executor's context may end, and is not
  /// touched from here any more.
  [[nodiscard]] boost::asio::any_completion_executor own_executor() const {
    if (!own_) return {};
    return boost::asio::prefer(own_, boost::asio::execution::outstanding_work.untracked);
  }

  /// The call with all it needs.
  auto bind() {
    return [work = std::exchange(own_, {}), then = std::move(handler_), code = code_,
            result = std::move(result_)]() mutable {
      std::apply([&](Result&... values) { std::move(then)(code, std::move(values)...); }, result);
    };
  }

  worker* thread_;
  handler handler_;
  boost::asio::any_completion_executor own_; ///< busy until the handler has run there; empty: it runs on the thread
  error_code code_ = errc::closed;
  std::tuple<Result...> result_;
};

/// When an operation with this deadline must end.
[[nodiscard]] inline time_point deadline_of(const std::optional<std::chrono::nanoseconds>& asked,
                                            const tunables& limits) noexcept {
  return deadline_after(clock::now(), asked.value_or(limits.deadline_default));
}

/// In the place of an operation's id: it was cancelled before it began.
inline constexpr links::operation_id cancelled_before = ~links::operation_id{0};

/// Starts `asked` on its lane; `payload` is copied if the caller is on another thread. `owner` completes it. The id is
/// stored into `*id` on the lane's thread, for cancel().
inline void submit(const std::shared_ptr<link_core>& core, links::operation_request&& asked,
                   std::unique_ptr<links::completion> owner, std::shared_ptr<links::operation_id> id) {
  auto& side = core->side_of(asked.carries);
  const auto begin = [&side](links::engine& engine, links::operation_request&& request,
                             std::unique_ptr<links::completion> then,
                             const std::shared_ptr<links::operation_id>& place) {
    if (!side.core().alive()) {
      const auto why = side.core().end_reason();
      return then->complete({.code = why.code(), .where = why.where()});
    }
    if (place && *place == cancelled_before) return then->complete({.code = errc::cancelled});
    const auto begun = engine.start(std::move(request), std::move(then));
    if (place) *place = begun;
  };
  if (side.on().here()) {
    return side.run([&](links::engine& engine) { begin(engine, std::move(asked), std::move(owner), id); });
  }
  std::vector<std::byte> copy(asked.payload.begin(), asked.payload.end());
  side.run([begin, &side, at = clock::now(), asked = std::move(asked), copy = std::move(copy), owner = std::move(owner),
            id = std::move(id)](links::engine& engine) mutable {
    side.on().picked_up(at);
    asked.payload = copy;
    begin(engine, std::move(asked), std::move(owner), id);
  });
}

using operation_place = std::shared_ptr<links::operation_id>;
using operation_places = std::shared_ptr<links::operation_id[]>;

/// Lets the slot, if there is one, cancel `count` operations whose ids will be in what is returned; else that is null.
/// Before they are submitted: once one has ended, handler and slot may be gone.
template <class Slot>
operation_places connect_slot(Slot slot, const std::shared_ptr<link_core>& core, lane on, std::size_t count = 1) {
  if (!slot.is_connected()) return nullptr;
  auto places = std::make_shared<links::operation_id[]>(count);
  slot.assign([places, count, weak = std::weak_ptr(core), on](boost::asio::cancellation_type) {
    const auto live = weak.lock();
    if (!live || live->forked()) return;
    live->side_of(on).run([places, count](links::engine& engine) {
      for (std::size_t i = 0; i < count; ++i) {
        auto& each = places[static_cast<std::ptrdiff_t>(i)];
        each == 0 ? void(each = cancelled_before) : engine.cancel(each);
      }
    });
  });
  return places;
}

[[nodiscard]] inline operation_place place_of(const operation_places& places, std::size_t index = 0) noexcept {
  return places ? operation_place(places, places.get() + index) : nullptr;
}

} // namespace weft::fabrics
