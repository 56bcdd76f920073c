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

namespace weft::fabrics {

/// A handler with its executor kept alive, that runs there exactly once and never inside the call that began its
/// operation. `thread` completes it, and is where a handler without an executor runs.
template <class... Result>
class pending {
public:
  using handler = boost::asio::any_completion_handler<void(error_code, Result...)>;

  pending(handler then, worker& thread)
      : thread_(&thread), handler_(std::move(then)),
        executor_(boost::asio::prefer(boost::asio::get_associated_executor(handler_, thread.executor()),
                                      boost::asio::execution::outstanding_work.tracked)) {}

  /// The end of an operation, on `thread` or elsewhere.
  void operator()(error_code code, Result... result) {
    if (thread_->here() && !thread_->initiating()) {
      boost::asio::dispatch(executor_, bind(code, std::move(result)...));
    } else {
      later(code, std::move(result)...);
    }
  }

  /// The end of one that never began, from inside the caller's own call.
  void later(error_code code, Result... result) {
    boost::asio::post(thread_->context(),
                      [executor = executor_, run = bind(code, std::move(result)...)]() mutable {
                        boost::asio::dispatch(executor, std::move(run));
                      });
  }

  [[nodiscard]] auto slot() const noexcept { return boost::asio::get_associated_cancellation_slot(handler_); }

private:
  auto bind(error_code code, Result... result) {
    return [then = std::move(handler_), code, ... values = std::move(result)]() mutable {
      std::move(then)(code, std::move(values)...);
    };
  }

  worker* thread_;
  handler handler_;
  boost::asio::any_completion_executor executor_;
};

/// When an operation with this deadline must end.
[[nodiscard]] inline time_point deadline_of(const std::optional<std::chrono::nanoseconds>& asked,
                                            const tunables& limits) noexcept {
  return deadline_after(clock::now(), asked.value_or(limits.deadline_default));
}

/// Starts `asked` on its lane; `payload` is copied if the caller is on another thread. `owner` completes it. The id is
/// stored into `*id` on the lane's thread, for cancel().
inline void submit(const std::shared_ptr<link_core>& core, links::operation_request asked,
                   std::unique_ptr<links::completion> owner,
                   std::shared_ptr<links::operation_id> id = nullptr) {
  auto& side = core->side_of(asked.carries);
  const auto begin = [core](links::engine& engine, links::operation_request&& request,
                            std::unique_ptr<links::completion> then, const std::shared_ptr<links::operation_id>& place) {
    if (!core->alive()) {
      const auto why = core->end_reason();
      return then->complete({.code = why.code(), .where = why.where()});
    }
    const auto begun = engine.start(std::move(request), std::move(then));
    if (place) *place = begun;
  };
  if (side.on().here()) {
    return side.run([&](links::engine& engine) { begin(engine, std::move(asked), std::move(owner), id); });
  }
  std::vector<std::byte> copy(asked.payload.begin(), asked.payload.end());
  side.run([begin, asked = std::move(asked), copy = std::move(copy), owner = std::move(owner),
            id = std::move(id)](links::engine& engine) mutable {
    asked.payload = copy;
    begin(engine, std::move(asked), std::move(owner), id);
  });
}

/// Lets the slot, if there is one, cancel the operation whose id will be in the returned place.
template <class Slot>
std::shared_ptr<links::operation_id> connect_slot(Slot slot, const std::shared_ptr<link_core>& core, lane on) {
  if (!slot.is_connected()) return nullptr;
  auto id = std::make_shared<links::operation_id>(0);
  slot.assign([id, weak = std::weak_ptr(core), on](boost::asio::cancellation_type) {
    const auto live = weak.lock();
    if (!live) return;
    live->side_of(on).run([id](links::engine& engine) {
      if (*id != 0) engine.cancel(*id, errc::cancelled);
    });
  });
  return id;
}

} // namespace weft::fabrics
