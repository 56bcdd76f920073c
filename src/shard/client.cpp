#include "shard/client.hpp"

#include "fabric/link_core.hpp"

#include <fmt/format.h>

namespace weft::shards {

client_core::client_core(std::shared_ptr<fabrics::fabric_core> fabric, std::vector<std::string> addresses)
    : fabric_(std::move(fabric)) {
  for (auto& address : addresses) {
    auto& added = replicas_.emplace_back();
    added.address = std::move(address);
  }
}

client_core::~client_core() {
  for (const auto& each : replicas_) {
    if (each.link) each.link->close();
  }
}

void keep_more_telling(error& worst, errc code, std::string_view address, std::string_view where) {
  // Data and storage say most, then the peer's answers, then that there was no way to it.
  const auto weight = [](errc code) {
    const auto range = static_cast<int>(code) / 100;
    if (code == errc::cancelled || code == errc{}) return 0;
    return range >= 5 ? range : range == 3 ? 1 : 2;
  };
  if (worst.code() != errc{} && weight(code) <= weight(worst.code())) return;
  worst = error(code, fmt::format("{}{}{}", address, where.empty() ? "" : ": ", where));
}

bool client_core::has_link(std::size_t index) const noexcept {
  const auto& link = replicas_[index].link;
  return link && link->alive();
}

void client_core::with_link(std::size_t index, std::function<void(const error&)> then) {
  if (has_link(index)) return then({});
  auto& wanted = replicas_[index];
  if (!wanted.connecting && clock::now() < wanted.retry_at) return then(wanted.failure);
  wanted.waiting.push_back(std::move(then));
  if (std::exchange(wanted.connecting, true)) return;
  fabric_->connect(wanted.address, limits().connect_timeout,
                   [self = shared_from_this(), index](const error& failure, std::shared_ptr<fabrics::link_core> link) {
                     self->fabric_->data().run([self, index, failure, link] { self->connected(index, failure, link); });
                   });
}

void client_core::connected(std::size_t index, const error& failure, std::shared_ptr<fabrics::link_core> link) {
  auto& wanted = replicas_[index];
  wanted.connecting = false;
  wanted.failure = failure;
  wanted.link = std::move(link);
  if (wanted.link) {
    wanted.failures = 0;
  } else {
    wanted.retry_at = deadline_after(clock::now(), redial_pause(limits(), wanted.failures++));
  }
  for (auto& then : std::exchange(wanted.waiting, {})) then(failure);
}

canceller client_core::ask(std::size_t index, asking what, answered then) {
  auto state = std::make_shared<flight>(fabric_->data().context());
  state->then = std::move(then);
  const auto begin = [self = shared_from_this(), index, state](asking&& asked) {
    if (!state->then) return;
    if (state->cancelled) return self->give_up(state, {.code = errc::cancelled});
    if (!self->has_link(index)) self->limit_patience(state, asked);
    self->with_link(index, [self, index, asked = std::move(asked), state](const error& failure) mutable {
      state->patience.cancel();
      if (!state->then) return;
      auto then = std::exchange(state->then, nullptr);
      if (failure.code() != errc{}) return then({.code = failure.code(), .where = failure.where()});
      self->send(index, std::move(asked), std::move(then), state);
    });
  };
  // Behind the present call, so that `then` never runs inside it.
  fabric_->data().post([self = shared_from_this(), begin, what = std::move(what)]() mutable {
    self->fabric_->data().run([&] { begin(std::move(what)); });
  });
  // What is under way keeps it: the jobs that its end would call back hold this.
  return [self = shared_from_this(), weak = std::weak_ptr(state)] {
    const auto state = weak.lock();
    if (!state) return;
    state->cancelled = true;
    if (state->then) {
      self->fabric_->data().post([self, state] { self->give_up(state, {.code = errc::cancelled}); });
    } else if (state->link) {
      state->link->side_of(state->on).run([id = state->id](links::engine& engine) { engine.cancel(*id); });
    }
  };
}

/// An attempt to connect has a deadline of its own, which may be far behind the asking's.
void client_core::limit_patience(const std::shared_ptr<flight>& state, const asking& asked) {
  const auto silent_at = deadline_after(clock::now(), asked.stall);
  const bool stall_first = silent_at < asked.deadline;
  state->patience.expires_at(std::min(silent_at, asked.deadline));
  state->patience.async_wait([self = shared_from_this(), state, stall_first](error_code aborted) {
    const auto code = stall_first ? errc::peer_unresponsive : errc::deadline_exceeded;
    if (!aborted) self->give_up(state, {.code = code, .where = "no link yet"});
  });
}

/// Ends an asking for which there is no link yet.
void client_core::give_up(const std::shared_ptr<flight>& state, links::outcome&& why) {
  state->patience.cancel();
  if (!state->then) return;
  fabric_->data().run([then = std::exchange(state->then, nullptr), &why] { then(std::move(why)); });
}

void client_core::send(std::size_t index, asking what, answered then, const std::shared_ptr<flight>& state) {
  what.carries = fabric_->lane_for(what.carries, what.pieces.length());
  state->link = replicas_[index].link;
  state->on = what.carries;
  state->id = std::make_shared<links::operation_id>(0);
  const auto payload = encode(what.what);
  fabrics::submit(
      state->link,
      {.kind = what.kind,
       .service = static_cast<std::uint16_t>(fabrics::service_id::shards),
       .carries = what.carries,
       .verify = what.verify,
       .payload = payload,
       .pieces = std::move(what.pieces),
       .slice_crcs = std::move(what.slice_crcs),
       .deadline = what.deadline,
       .by_deadline = what.by_deadline,
       .stall = what.stall},
      fabrics::on_end([self = shared_from_this(), then = std::move(then), state](links::outcome&& ended) mutable {
        // A realtime lane ends on its own thread; jobs live on this one.
        self->fabric_->data().post([self, then = std::move(then), ended = std::move(ended)]() mutable {
          self->fabric_->data().run([&] { then(std::move(ended)); });
        });
      }),
      state->id);
}

canceller client_core::ask_all(const asking& what, std::function<void(std::size_t replica, links::outcome&&)> each) {
  auto cancellers = std::make_shared<std::vector<canceller>>();
  for (std::size_t i = 0; i < replicas_.size(); ++i) {
    cancellers->push_back(ask(i, what, [each, i](links::outcome&& ended) { each(i, std::move(ended)); }));
  }
  return [cancellers] {
    for (const auto& cancel : *cancellers) cancel();
  };
}

canceller client_core::ask_any(const asking& what, answered then) {
  struct race {
    answered then;
    std::size_t running;
    error worst;
  };
  auto state = std::make_shared<race>(race{std::move(then), replicas_.size(), {}});
  if (replicas_.empty()) {
    fabric_->data().post(
        [state] { state->then({.code = errc::invalid_argument, .where = "a client without replicas"}); });
    return [] {};
  }
  return ask_all(what, [self = shared_from_this(), state](std::size_t i, links::outcome&& ended) {
    --state->running;
    if (!state->then) return;
    if (!ended.code) return std::exchange(state->then, nullptr)(std::move(ended));
    keep_more_telling(state->worst, to_errc(ended.code), self->replicas_[i].address, ended.where);
    if (state->running > 0) return;
    std::exchange(state->then, nullptr)({.code = state->worst.code(), .where = state->worst.where()});
  });
}

} // namespace weft::shards
