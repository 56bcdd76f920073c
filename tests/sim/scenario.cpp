#include "scenario.hpp"

#include <fmt/format.h>

namespace weft::sim {
namespace {

/// What the forced fence of a channel and the rounding of timers may add to deadline and fence_timeout.
constexpr auto forced_fence_time = std::chrono::milliseconds(4);

/// Far more than any scenario needs.
constexpr std::uint64_t most_events = 1'000'000;

} // namespace

tally& tally::operator+=(const tally& other) noexcept {
  events += other.events;
  operations += other.operations;
  succeeded += other.succeeded;
  slices_verified += other.slices_verified;
  slices_resent += other.slices_resent;
  slices_refused += other.slices_refused;
  forced_fences += other.forced_fences;
  collateral += other.collateral;
  links += other.links;
  met += other.met;
  return *this;
}

scenario::scenario(std::uint64_t seed, const options& how) : world_(seed), how_(how), begun_(world_.time.now()) {
  world_.traces = how.traces;
  world_.serves = this;
  plan_network();
  plan_jobs();
  plan_faults();
  world_.terms.skips_fence = how.skips_fence;
}

std::string scenario::run() {
  for (const auto& one : pairs_) world_.nodes.at(one.dials).link_to(one.accepts, one.one_sided);
  run_until(begun_ + 2s, [this] { return world_.time.now() > begun_ + 400ms && all_completed(); });
  heal();
  // Whoever waits for nothing but a working network must get it.
  run_until(world_.time.now() + 20s, [this] { return all_completed(); });
  world_.met.met(promise::every_operation_ends);
  if (!all_completed()) world_.failed("an operation does not end though the network works");
  const auto idle = [this] {
    for (const auto& [name, one] : world_.nodes) {
      for (const auto& at : one.endpoints()) {
        if (at->outstanding() > 0) return false;
      }
    }
    return true;
  };
  run_until(world_.time.now() + 5s, idle);
  world_.met.met(promise::engines_forget);
  if (!idle()) world_.failed("an engine keeps an operation that is over");
  close_links();
  world_.met.met(promise::memory_given_back);
  world_.memory.check_all();
  count();
  if (world_.failure.empty()) world_.failure = world_.memory.violation();
  return world_.failure;
}

void scenario::run_until(time_point end, const std::function<bool()>& enough) {
  while (world_.failure.empty() && world_.time.now() < end && !enough() && world_.time.step()) {
    world_.memory.look(world_.random);
    if (!world_.memory.violation().empty()) world_.failed(world_.memory.violation());
    if (world_.time.events() > most_events) world_.failed("the scenario spins");
  }
}

bool scenario::all_completed() const {
  return std::all_of(jobs_.begin(), jobs_.end(), [](const job& one) { return one.completed || one.abandoned; });
}

void scenario::start(job& which, const pair& over, bool from_dialling) {
  auto& caller = world_.nodes.at(from_dialling ? over.dials : over.accepts);
  const auto& peer = from_dialling ? over.accepts : over.dials;
  which.abandoned = true; // unless it starts after all
  if (caller.frozen()) return;
  auto at = caller.towards(peer);
  if (!at && from_dialling) at = caller.link_to(peer, over.one_sided);
  if (!at) return;
  which.abandoned = false;
  which.started = true;
  which.caller = caller.name;
  ++tally_.operations;

  const auto now = world_.time.now();
  which.deadline = deadline_after(now, which.timeout);
  which.local = &world_.memory.add(world_.random, which.length);
  if (which.kind == wire::operation_kind::write) which.local->fill(which.id);
  std::vector<std::byte> payload;
  wire::writer(payload).integer(which.id);
  links::operation_request asked;
  asked.kind = which.kind;
  asked.carries = which.carries;
  asked.verify = which.verify;
  asked.payload = payload;
  asked.pieces = which.local->pieces();
  asked.deadline = which.deadline;
  asked.stall = which.stall;
  asked.wait_when_full = which.wait_when_full;
  const links::slicing slices{which.length, static_cast<std::uint32_t>(world_.limits.slice_size.value())};
  for (std::uint32_t i = 0; which.tells_crcs && which.kind == wire::operation_kind::write && i < slices.count(); ++i) {
    asked.slice_crcs.push_back(which.local->crc(slices.offset(i), slices.length_of(i)));
  }
  world_.note(fmt::format("{}: operation {} begins: kind {}, lane {}, {} bytes, timeout {} ns", caller.name, which.id,
                          static_cast<int>(which.kind), name(which.carries), which.length,
                          which.timeout == duration::max() ? -1 : which.timeout.count()));
  which.losses_here = at->losses(which.carries);
  which.at = at;
  at->run([&] {
    which.operation =
        at->engine_of(which.carries)
            .start(std::move(asked),
                   std::make_unique<end_told>([this, &which](links::outcome&& how) { ended(which, std::move(how)); }));
    at->knows(which.carries, which.operation);
    if (which.kind == wire::operation_kind::read) at->grant(which.carries, which.operation, which.local->pieces());
  });
  if (which.cancel_after == duration::max()) return;
  later(*at, which.cancel_after + 1ns, [this, &which](endpoint& calling) {
    world_.note(fmt::format("{}: operation {} is cancelled", which.caller, which.id));
    calling.happens(event::cancelled_here, which.carries, which.operation);
    calling.engine_of(which.carries).cancel(which.operation);
  });
}

void scenario::ended(job& which, links::outcome&& how) {
  world_.note(fmt::format("{}: operation {} ended: {} {}", which.caller, which.id, how.code.message(), how.where));
  world_.met.met(promise::one_completion);
  if (which.completed) return world_.failed(fmt::format("operation {} completed twice", which.id));
  if (which.abandoned) return world_.failed(fmt::format("operation {} completed in a dead process", which.id));
  which.completed = true;
  which.result = std::move(how);
  check_end(which);
  if (const auto at = which.at.lock(); at && which.kind == wire::operation_kind::write) {
    check_resent(which, which.result, at->losses(which.carries) - which.losses_here);
  }
  world_.met.met(promise::memory_untouched_after_the_end);
  world_.memory.release(*which.local);
}

void scenario::check_end(const job& which) {
  const auto& how = which.result;
  const auto broken = [&](std::string_view what) { world_.failed(fmt::format("operation {}: {}", which.id, what)); };
  const auto& caller = world_.nodes.at(which.caller);
  if (which.deadline != time_point::max()) {
    const auto bound = std::max(which.deadline, caller.thawed_at()) + world_.limits.fence_timeout + forced_fence_time;
    world_.met.met(promise::completed_in_time);
    if (world_.time.now() > bound) broken("ended too late");
  }
  const bool may_fail = !survivable_ || which.handler.refuses != errc{} || which.timeout != duration::max() ||
                        which.stall != duration::max() || which.cancel_after != duration::max() ||
                        how.code == errc::queue_full ||
                        (world_.terms.flips_payload > 0 && how.code == errc::checksum_mismatch);
  if (!may_fail) world_.met.met(promise::no_failure_without_reason);
  if (which.handler.refuses != errc{}) world_.met.met(promise::refusal_stands);
  if (!how.code) {
    ++tally_.succeeded;
    world_.met.met(promise::right_bytes);
    if (which.handler.refuses != errc{}) {
      const bool data_was_first = which.handler.refuses_late && which.kind != wire::operation_kind::request;
      if (!data_was_first) broken("succeeded though its handler refused");
    }
    const bool bytes_are_right =
        which.kind == wire::operation_kind::request
            ? how.payload == std::vector<std::byte>(which.handler.answer, static_cast<std::byte>(which.id))
            : which.local->holds(which.id);
    if (which.kind == wire::operation_kind::write) world_.met.met(promise::verified_first);
    if (which.kind == wire::operation_kind::write && !which.verified_there) broken("succeeded before it was verified");
    if (!bytes_are_right) broken("succeeded with other bytes");
    return;
  }
  if (how.where.size() > wire::longest_where) broken("says too much");
  if (!may_fail) broken("failed without a reason: " + how.code.message() + " " + how.where);
}

/// What goes again is at most a window for each channel of the lane that was lost, whether or not it carried some; what
/// was damaged goes again as well, and is not counted here.
void scenario::check_resent(const job& which, const links::outcome& how, std::uint32_t losses) {
  if (world_.terms.flips_payload > 0) return;
  world_.met.met(promise::few_sent_again);
  const auto in_window = world_.limits.transfer_window.value() / world_.limits.slice_size.value() + 1;
  if (how.resent <= losses * in_window) return;
  world_.failed(
      fmt::format("operation {} sent {} slices again after the loss of {} channels", which.id, how.resent, losses));
}

/// The operations of a dying process die with it, and its memory is never touched again.
void scenario::abandon(const node& dying) {
  for (auto& one : jobs_) {
    if (one.started && !one.completed && one.caller == dying.name) {
      one.abandoned = true;
      world_.memory.release(*one.local);
    }
    if (one.remote != nullptr && one.server == dying.name) world_.memory.release(*one.remote);
  }
}

void scenario::heal() {
  world_.note("all faults are over");
  for (auto& [name, one] : world_.nodes) {
    one.refuses_dials = false;
    if (!one.frozen()) continue;
    // Frozen until now: half of them go on, the others are killed.
    if (world_.random.chance(0.5)) {
      one.thaw();
    } else {
      restart(one);
    }
  }
}

void scenario::close_links() {
  for (auto& [name, one] : world_.nodes) {
    for (const auto& at : std::vector(one.endpoints())) {
      if (!at->over()) at->close();
    }
  }
  const auto over = [this] {
    for (const auto& [name, one] : world_.nodes) {
      for (const auto& at : one.endpoints()) {
        if (!at->over()) return false;
      }
    }
    return true;
  };
  run_until(world_.time.now() + 5s, over);
  world_.met.met(promise::links_end);
  if (!over()) world_.failed("a link does not end");
  run_until(world_.time.now() + 1s, [] { return false; }); // whatever is still on its way
}

void scenario::count() {
  tally_.events = world_.time.events();
  world_.met.met(fault::flips_payload, world_.network.flips_payload);
  world_.met.met(fault::flips_body, world_.network.flips_body);
  world_.met.met(fault::flips_header, world_.network.flips_header);
  tally_.met = world_.met;
  for (const auto& [name, one] : world_.nodes) {
    for (const auto& at : one.endpoints()) {
      ++tally_.links;
      for (const auto on : {lane::realtime, lane::bulk}) {
        const auto& counted = at->engine_of(on).counters();
        tally_.slices_verified += counted.slices_verified;
        tally_.slices_resent += counted.slices_resent;
        tally_.slices_refused += counted.slices_refused;
        tally_.forced_fences += counted.forced_fences;
        tally_.collateral += counted.collateral;
      }
    }
  }
}

} // namespace weft::sim
