// The handlers' side of a scenario: each operation is served as its job says, and each call of a handler is counted.
#include "scenario.hpp"

#include <fmt/format.h>

namespace weft::sim {
void scenario::later(endpoint& at, duration wait, std::function<void(endpoint&)> what) {
  if (wait == duration::zero()) return what(at);
  world_.time.after(wait, [self = at.weak_from_this(), what = std::move(what)] {
    const auto alive = self.lock();
    if (!alive) return;
    alive->host().when_running([self, what] {
      if (const auto running = self.lock(); running && !running->dead()) running->run([&] { what(*running); });
    });
  });
}

void scenario::arrived(endpoint& at, links::engine&, const links::incoming& begun) {
  wire::reader in(begun.payload);
  const auto id = in.integer<std::uint64_t>();
  if (!in.finished() || id >= jobs_.size()) return world_.failed("a request arrived with another payload");
  auto& which = jobs_[id];
  which.server = at.host().name;
  world_.note(fmt::format("{}: handler of operation {}", at.host().name, id));
  world_.met.met(promise::one_call_of_the_handler);
  world_.met.met(promise::same_terms);
  if (++which.handled > 1) return world_.failed(fmt::format("the handler of operation {} ran twice", id));
  if (begun.terms.length != which.length || begun.terms.kind != which.kind || begun.terms.carries != which.carries) {
    return world_.failed("a request arrived with other terms");
  }
  later(at, which.handler.accept_after,
        [this, &which, operation = begun.id](endpoint& serving) { handle(which, serving, operation); });
}

void scenario::handle(job& which, endpoint& at, links::operation_id id) {
  const auto refusal = which.handler.refuses;
  const bool refuses = refusal != errc{};
  if (which.kind == wire::operation_kind::request || (refuses && !which.handler.refuses_late)) {
    return respond(which, at, id, refusal, which.handler.respond_after);
  }
  at.happens(event::served, which.carries, id);
  which.remote = &world_.memory.add(world_.random, which.length);
  which.losses_there = at.losses(which.carries);
  auto& engine = at.engine_of(which.carries);
  auto owner = std::make_unique<end_told>([this, &which, self = at.weak_from_this(), id](links::outcome&& how) {
    if (const auto serving = self.lock()) data_ended(which, *serving, id, std::move(how));
  });
  if (which.kind == wire::operation_kind::write) {
    at.grant(which.carries, id, which.remote->pieces());
    engine.accept_write(id, which.remote->pieces(), std::move(owner));
  } else {
    which.remote->fill(which.id);
    std::vector<std::uint32_t> crcs;
    const links::slicing slices{which.length, static_cast<std::uint32_t>(world_.limits.slice_size.value())};
    for (std::uint32_t i = 0; which.handler.tells_crcs && i < slices.count(); ++i) {
      crcs.push_back(which.remote->crc(slices.offset(i), slices.length_of(i)));
    }
    engine.supply_read(id, which.remote->pieces(), std::move(crcs), std::move(owner));
  }
  if (refuses) respond(which, at, id, refusal, which.handler.respond_after);
}

void scenario::respond(job& which, endpoint& at, links::operation_id id, errc code, duration wait) {
  later(at, wait, [&which, id, code](endpoint& serving) {
    const std::vector<std::byte> answer(code == errc{} ? which.handler.answer : 0, static_cast<std::byte>(which.id));
    const auto how = code == errc{} ? error_code{} : make_error_code(code);
    serving.happens(event::answered, which.carries, id);
    serving.engine_of(which.carries).respond(id, how, code == errc{} ? "" : "refused", answer);
  });
}

void scenario::data_ended(job& which, endpoint& at, links::operation_id id, links::outcome&& how) {
  const bool writes = which.kind == wire::operation_kind::write;
  world_.note(fmt::format("{}: data of operation {} ended: {}", at.host().name, which.id, how.code.message()));
  if (which.remote->released()) world_.failed(fmt::format("the data of operation {} ended twice", which.id));
  if (writes && !how.code) {
    if (!which.remote->holds(which.id)) world_.failed(fmt::format("operation {} wrote other bytes", which.id));
    which.verified_there = true;
  }
  world_.memory.release(*which.remote);
  if (!writes) check_resent(which, how, at.losses(which.carries) - which.losses_there);
  if (how.code) {
    const bool damaged = how.code == errc::checksum_mismatch;
    return respond(which, at, id, damaged ? errc::checksum_mismatch : errc::handler_failed,
                   which.handler.respond_after);
  }
  if (writes) respond(which, at, id, errc{}, which.handler.respond_after);
}

} // namespace weft::sim
