// What a seed makes of a scenario: the network, the operations and the faults.
#include "scenario.hpp"

#include <fmt/format.h>

namespace weft::sim {
namespace {

/// Under way at once in every scenario, from the start.
constexpr std::uint64_t concurrent_transfers = 4;
constexpr auto first_moments = std::chrono::milliseconds(1);

constexpr errc refusals[] = {errc::not_found, errc::permission_denied, errc::no_space, errc::no_handler};

} // namespace

void scenario::plan_network() {
  auto& random = world_.random;
  auto& limits = world_.limits;
  limits.slice_size = 64_KiB;
  limits.transfer_window = random.chance(0.5) ? 256_KiB : 1_MiB;
  limits.message_window = 16 + static_cast<std::uint32_t>(random.below(48));
  limits.operations_max = random.chance(0.3) ? 4 : 64;
  limits.operations_bytes = random.chance(0.3) ? 1_MiB : 1_GiB;
  limits.fence_timeout = random.chance(0.5) ? 10ms : 50ms;
  limits.lane_bulk_channels = random.chance(0.5) ? 1 : 2 + static_cast<std::uint32_t>(random.below(3));
  // A limit that some transfers feel, and none fails for.
  // Learned, or so small that every slice leaves in parts which wait for each other.
  if (random.chance(0.6)) limits.lane_budget = byte_count(16'384 + random.below(200'000));
  if (random.chance(0.2)) limits.lane_bulk_limit = rail_rate(bytes_per_second(20'000'000 + random.below(100'000'000)));
  if (random.chance(0.2))
    limits.lane_background_reservation = rail_rate(bytes_per_second(1 + random.below(100'000'000)));
  limits.stall_default = 500ms;
  limits.session_grace = 300ms;
  limits.connect_timeout = limits.handshake_timeout = 100ms;
  limits.redial_min = 1ms;
  limits.redial_max = 40ms;

  world_.terms.delay = random.chance(0.3) ? std::chrono::microseconds(2) : std::chrono::microseconds(200);
  constexpr std::uint64_t rates[] = {3'000'000, 50'000'000, 5'000'000'000};
  world_.terms.bytes_per_second = rates[random.below(std::size(rates))];
  busy_time_ = random.chance(0.4) ? 15ms : 250ms;
  world_.terms.queue = random.chance(0.5) ? 64 * 1024 : 512 * 1024;
  world_.terms.window = random.chance(0.5) ? 64 * 1024 : 512 * 1024;

  const auto count = 3 + random.below(2);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto name = fmt::format("n{}", i);
    world_.nodes.try_emplace(name, world_, name);
  }
  const auto links = 2 + random.below(2);
  while (pairs_.size() < links) {
    const auto from = random.below(count);
    const auto to = (from + 1 + random.below(count - 1)) % count;
    const auto same = [&](const pair& other) {
      return (other.dials == fmt::format("n{}", from) && other.accepts == fmt::format("n{}", to)) ||
             (other.dials == fmt::format("n{}", to) && other.accepts == fmt::format("n{}", from));
    };
    if (std::any_of(pairs_.begin(), pairs_.end(), same)) continue;
    pairs_.push_back({fmt::format("n{}", from), fmt::format("n{}", to), random.chance(0.5)});
  }
}

job scenario::planned_job(std::uint64_t id) {
  auto& random = world_.random;
  job made;
  made.id = id;
  made.kind = static_cast<wire::operation_kind>(random.below(3));
  const bool one_of_several = id < concurrent_transfers;
  if (one_of_several && made.kind == wire::operation_kind::request) made.kind = wire::operation_kind::write;
  // The lane that may have several channels more often than the others.
  made.carries = random.chance(0.3) ? lane::bulk : static_cast<lane>(random.below(lane_count));
  made.verify = random.chance(0.8) ? verify_mode::slice : verify_mode::wire;
  if (made.kind != wire::operation_kind::request) {
    constexpr std::uint64_t sizes[] = {0, 1, 4096, 65535, 65536, 65537};
    made.length = random.chance(0.4) ? sizes[random.below(std::size(sizes))]
                                     : random.below(random.chance(0.05) ? 2'000'000 : 300'000);
    if (one_of_several) made.length = 100'000 + made.length % 300'000;
  }
  if (random.chance(0.5)) made.timeout = 1ms + up_to(random.chance(0.5) ? 30ms : 600ms);
  if (random.chance(0.1)) made.stall = 5ms + up_to(100ms);
  if (random.chance(0.2)) made.cancel_after = up_to(random.chance(0.5) ? 1ms : 10ms);
  made.wait_when_full = random.chance(0.9);
  made.tells_crcs = random.chance(0.3);
  auto& handler = made.handler;
  if (random.chance(0.5)) handler.accept_after = up_to(random.chance(0.2) ? 100ms : 2ms);
  if (random.chance(0.5)) handler.respond_after = up_to(random.chance(0.2) ? 100ms : 2ms);
  if (random.chance(0.15)) handler.refuses = refusals[random.below(std::size(refusals))];
  handler.refuses_late = random.chance(0.5);
  handler.tells_crcs = random.chance(0.3);
  handler.answer = random.chance(0.1) ? random.below(65536) : random.below(200);
  return made;
}

void scenario::plan_jobs() {
  const auto count = 10 + world_.random.below(30);
  for (std::uint64_t i = 0; i < count; ++i) jobs_.push_back(planned_job(i));
  for (auto& one : jobs_) {
    const auto& over = pairs_[world_.random.below(pairs_.size())];
    const bool from_dialling = world_.random.chance(0.5);
    const auto pause = up_to(one.id < concurrent_transfers ? first_moments : busy_time_);
    one.abandoned = is_left_out('j', one.id);
    if (one.abandoned) continue;
    world_.time.after(pause, [this, &one, &over, from_dialling] { start(one, over, from_dialling); });
  }
}

bool scenario::is_left_out(char kind, std::uint64_t number) const {
  return how_.without.contains(fmt::format("{}{}", kind, number));
}

std::vector<std::string> scenario::parts() const {
  std::vector<std::string> all;
  for (std::uint64_t i = 0; i < faults_; ++i) all.push_back(fmt::format("f{}", i));
  for (const auto& one : jobs_) all.push_back(fmt::format("j{}", one.id));
  return all;
}

void scenario::plan_faults() {
  auto& random = world_.random;
  if (random.chance(0.3)) {
    world_.terms.flips_payload = random.chance(0.3) ? 0.3 : 0.02; // some transfers are refused too often
    world_.terms.flips_body = 0.005;
    world_.terms.flips_header = 0.005;
  }
  survivable_ = random.chance(0.5);
  if (survivable_) world_.limits.stall_default = world_.limits.session_grace = 5s;
  if (random.chance(0.3)) world_.cuts_dials = 0.15;
  faults_ = random.below(20);
  for (std::uint64_t i = 0; i < faults_; ++i) {
    const auto pause = up_to(busy_time_);
    if (!is_left_out('f', i)) world_.time.after(pause, [this] { cause_fault(); });
  }
}

node& scenario::any_node() {
  return std::next(world_.nodes.begin(), static_cast<std::ptrdiff_t>(world_.random.below(world_.nodes.size())))->second;
}

std::shared_ptr<endpoint> scenario::any_endpoint() {
  const auto& there = any_node().endpoints();
  return there.empty() ? nullptr : there[world_.random.below(there.size())];
}

void scenario::cause_fault() {
  auto& random = world_.random;
  auto& victim = any_node();
  // A link whose first handshake fails has nothing to resume.
  if (survivable_ && world_.time.now() < begun_ + 5ms) return;
  // The first few are more than an operation must survive.
  switch (random.below(20) + (survivable_ ? 4 : 0)) {
    case 0: return freeze(victim);
    case 1: return freeze(victim);
    case 2: return restart(victim);
    case 3:
      if (const auto at = any_endpoint(); at && random.chance(0.3) && !at->host().frozen()) {
        world_.met.met(fault::closes_link);
        at->close();
      }
      return;
    case 4:
      victim.refuses_dials = true;
      return world_.time.after(up_to(100ms), [&victim] { victim.refuses_dials = false; });
    default:
      if (const auto at = any_endpoint()) cut_something(at);
  }
}

void scenario::cut_something(const std::shared_ptr<endpoint>& at) {
  auto& random = world_.random;
  const bool session = random.chance(0.2);
  std::vector<wire::place> up;
  for (std::uint32_t i = 0; i < wire::place_count; ++i) {
    if (at->channel(wire::place::at(i)) != nullptr) up.push_back(wire::place::at(i));
  }
  if (!session && up.empty()) return;
  auto where = session ? wire::place() : up[random.below(up.size())];
  // Rather than others that which carries the messages of most lanes: they are said twice in every state.
  if (!session && at->channel(lane::standard) != nullptr && random.chance(0.4)) where = lane::standard;
  auto* end = session ? at->session_end() : at->channel(where);
  if (end == nullptr || !end->usable()) return;
  world_.note(fmt::format("fault at {}: {} to {}", at->host().name, session ? "session" : to_text(where), at->peer()));
  if (!session && random.chance(0.3)) {
    // A slow receiver: takes nothing for a while.
    world_.met.met(fault::stops_reading);
    end->pause(true);
    const auto until = up_to(30ms);
    return world_.time.after(until, [at, end = end->shared()] {
      if (!at->host().frozen()) end->pause(false);
    });
  }
  if (random.chance(0.3)) {
    world_.met.met(fault::breaks_one_end);
    return end->break_after(up_to(1ms));
  }
  const auto notices = [&] {
    if (!random.chance(0.1)) return up_to(20ms);
    world_.met.met(fault::notices_late);
    return world_.terms.silence;
  };
  world_.met.met(session ? fault::cuts_session : fault::cuts_channel);
  end->cut(notices(), notices());
}

void scenario::freeze(node& victim) {
  world_.note(fmt::format("fault: {} freezes", victim.name));
  world_.met.met(fault::freezes);
  victim.freeze();
  if (world_.random.chance(0.15)) return world_.met.met(fault::freezes_for_ever); // until the end of the scenario
  world_.time.after(up_to(world_.random.chance(0.5) ? 20ms : 500ms), [this, &victim] {
    world_.note(fmt::format("{} goes on", victim.name));
    victim.thaw();
  });
}

void scenario::restart(node& victim) {
  world_.note(fmt::format("fault: {} restarts", victim.name));
  world_.met.met(fault::restarts);
  abandon(victim);
  victim.restart();
}

} // namespace weft::sim
