#include "node.hpp"

#include <fmt/format.h>

namespace weft::sim {

node::node(world& within, std::string called)
    : in(within), name(std::move(called)), incarnation{within.random.next(), within.random.next()} {}

std::shared_ptr<endpoint> node::link_to(const std::string& peer, bool one_sided) {
  endpoints_.push_back(std::make_shared<endpoint>(*this, peer, one_sided));
  endpoints_.back()->start();
  return endpoints_.back();
}

std::shared_ptr<endpoint> node::towards(const std::string& peer) const {
  for (auto at = endpoints_.rbegin(); at != endpoints_.rend(); ++at) {
    if ((*at)->peer() == peer && !(*at)->over()) return *at;
  }
  return nullptr;
}

void node::freeze() {
  if (std::exchange(frozen_, true)) return;
  for (auto& one : endpoints_) one->pause(true);
  for (auto& one : greeting_) one->pause(true);
}

void node::thaw() {
  if (!std::exchange(frozen_, false)) return;
  thawed_at_ = in.time.now();
  for (auto& one : endpoints_) one->pause(false);
  for (auto& one : greeting_) one->pause(false);
  const auto missed = std::exchange(deferred_, {});
  for (const auto& what : missed) {
    in.time.after({}, [this, what, life = life_] {
      if (life == life_) when_running(what);
    });
  }
}

void node::restart() {
  ++life_;
  deferred_.clear();
  for (auto& one : endpoints_) one->die();
  for (auto& one : greeting_) one->die();
  greeting_.clear();
  endpoints_.clear();
  incarnation = {in.random.next(), in.random.next()};
  frozen_ = false;
}

void node::when_running(std::function<void()> what) {
  if (!frozen_) return what();
  deferred_.push_back(std::move(what));
}

void node::accept(const end_pointer& arriving) {
  greeting_.push_back(arriving);
  arriving->own(*this);
  arriving->pause(false);
}

void node::lost(path::sim::end& at) {
  std::erase_if(greeting_, [&at](const end_pointer& one) {
    if (one.get() == &at) one->close();
    return one.get() == &at;
  });
}

void node::frame_arrived(path::sim::end& at, const wire::frame_header& header, std::span<const std::byte> body) {
  const auto found =
      std::find_if(greeting_.begin(), greeting_.end(), [&at](const auto& one) { return one.get() == &at; });
  if (found == greeting_.end()) return;
  const auto over = *found;
  greeting_.erase(found);
  if (header.type == wire::frame_type::channel_hello) {
    const auto greeting = wire::decode_channel_hello(body);
    for (const auto& one : std::vector(endpoints_)) {
      if (one->control().mine().session != greeting->session || one->over()) continue;
      return one->channel_offered(greeting->at, greeting->epoch, over);
    }
    over->close();
    return;
  }
  const auto greeting = wire::decode_hello(body);
  for (const auto& one : std::vector(endpoints_)) {
    if (one->control().mine().session != greeting->session) continue;
    if (!one->session_offered(*greeting, over)) {
      const wire::frame_header refusal{.type = wire::frame_type::refusal,
                                       .code = static_cast<std::uint32_t>(errc::peer_lost)};
      std::ignore = over->post_message(refusal, {});
    }
    return;
  }
  endpoints_.push_back(std::make_shared<endpoint>(*this, *greeting, over, over->can().one_sided));
  endpoints_.back()->start();
}

world::world(std::uint64_t seed)
    : random(seed), network{time, random, [this](auto bytes, bool writes) { memory.touching(bytes, writes); }} {}

void world::dial(node& from, const std::string& to, std::optional<wire::place> at, bool one_sided,
                 std::function<void(end_pointer)> then) {
  const duration there = terms.delay + duration(random.below(static_cast<std::uint64_t>(terms.delay.count()) * 4 + 1));
  const auto answer = [&from, then = std::move(then)](const end_pointer& result) {
    from.when_running([then, result] { then(result); });
  };
  time.after(there, [this, answer, to, at, one_sided] {
    const bool session = !at;
    auto& target = nodes.at(to);
    if (target.refuses_dials) {
      met.met(fault::refuses_dials);
      return answer(nullptr);
    }
    auto with = terms;
    with.one_sided = one_sided && !session;
    if (session) with.queue = std::uint64_t{1} << 30;
    if (at && !rail_rates.empty()) with.bytes_per_second = rail_rates[at->number % rail_rates.size()];
    auto made = std::make_shared<path::sim::connection>(network, with);
    const end_pointer arriving(made, &made->second);
    arriving->pause(true);
    target.when_running([&target, arriving] { target.accept(arriving); });
    if (!session && random.chance(cuts_dials)) {
      met.met(fault::cuts_dial);
      time.after(duration(random.below(5 * static_cast<std::uint64_t>(terms.delay.count()))),
                 [this, made] { made->cut(duration(random.below(10'000'000)), duration(random.below(10'000'000))); });
    }
    answer(end_pointer(made, &made->first));
  });
}

void world::note(const std::string& what) {
  if (!traces) return;
  const auto at = std::chrono::duration<double, std::milli>(time.now().time_since_epoch()).count();
  fmt::print("{:10.3f} ms  {}\n", at, what);
}

void world::failed(const std::string& what) {
  note("FAILED: " + what);
  if (failure.empty()) failure = what;
}

} // namespace weft::sim
