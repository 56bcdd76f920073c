#include "fabric/worker.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

/// Bytes the scheduler may hand to the network before arrivals get their turn.
constexpr std::uint64_t send_turn = 4 * 1024 * 1024;
/// Looks at a completion queue for one at the context, which costs a lock and a system call. They become more, up to
/// some microseconds of them, while nothing happens: what arrives waits for a look, and not for a system call before
/// it. A thread that spins looks at a context that has nothing only every some tens of microseconds, which is what TCP
/// may wait for on it.
constexpr unsigned fewest_looks = 16;
constexpr unsigned most_looks = 256;
constexpr unsigned most_spinning_looks = 1024;
/// Looks without a result after which a spinning thread lets others run: two on one processor would else wait for each
/// other's time slice. They become more while nobody else wants the processor, as a system call that nobody needs
/// delays what arrives.
constexpr unsigned fewest_looks_before_yield = 64;
constexpr unsigned most_looks_before_yield = 8192;
/// How long a thread with a real-time priority stays awake for nothing: as long as it does, nobody else runs there.
constexpr duration longest_realtime_spin = std::chrono::microseconds(50);

/// How often another thread got the processor in place of this one.
long times_displaced() noexcept {
  rusage used{};
  ::getrusage(RUSAGE_THREAD, &used);
  return used.ru_nvcsw + used.ru_nivcsw;
}

} // namespace

worker::worker(const thread_plan& plan, const tunables& limits, lanes::host_board& board)
    : work_(context_.get_executor()),
      poll_(plan.priority > 0 && limits.poll == poll_mode::spin ? poll_mode::adaptive : limits.poll),
      spin_(plan.priority > 0 ? std::min(limits.poll_spin, longest_realtime_spin) : limits.poll_spin),
      realtime_(plan.realtime), limits_(limits), board_(board), rail_timer_(context_) {
  thread_ = std::thread([this] { run_until_stopped(); });
  place(plan);
}

void worker::place(const thread_plan& plan) {
  const auto thread = thread_.native_handle();
  ::pthread_setname_np(thread, plan.name.c_str());
  if (!plan.cpus.empty()) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (std::size_t cpu = 0; cpu < cpu_list::most && cpu < CPU_SETSIZE; ++cpu) {
      if (plan.cpus.has(cpu)) CPU_SET(cpu, &set);
    }
    if (const int code = ::pthread_setaffinity_np(thread, sizeof set, &set); code != 0) {
      complaints_.push_back(
          fmt::format("{} cannot run on processors {}: {}", plan.name, to_string(plan.cpus), std::strerror(code)));
    }
  }
  if (plan.priority > 0) {
    const sched_param wanted{.sched_priority = static_cast<int>(plan.priority)};
    if (const int code = ::pthread_setschedparam(thread, SCHED_FIFO, &wanted); code != 0) {
      complaints_.push_back(fmt::format("{} does not get SCHED_FIFO priority {}: {} (that needs CAP_SYS_NICE)",
                                        plan.name, plan.priority, std::strerror(code)));
    }
  }
  if (plan.nice != 0) {
    id_.wait(0);
    // Of a thread, though the call speaks of a process.
    if (::setpriority(PRIO_PROCESS, static_cast<id_t>(id_.load()), plan.nice) != 0) {
      complaints_.push_back(fmt::format("{} does not get the nice value {}: {} (below 0 that needs CAP_SYS_NICE or "
                                        "RLIMIT_NICE)",
                                        plan.name, plan.nice, std::strerror(errno)));
    }
  }
}

void worker::run_until_stopped() {
  current_ = this;
  id_ = ::gettid();
  id_.notify_one();
  while (!ending_) {
    if (poll_ != poll_mode::event) {
      look_around();
    } else {
      while (!ending_ && look()) run_handlers(); // neither keeps the other waiting
    }
    if (arm_sources()) context_.run_one(); // asleep until something happens
  }
}

/// Handles what there is, and what comes while it is worth staying awake: to be woken takes longer than most answers.
void worker::look_around() {
  const bool spins = poll_ == poll_mode::spin;
  auto until = time_point::min();
  unsigned looks = fewest_looks;
  unsigned quiet = 0; ///< looks since something happened, or others were let run
  unsigned before_yield = fewest_looks_before_yield;
  auto displaced = times_displaced();
  while (!ending_) {
    const auto queues = static_cast<unsigned>(sources_.size());
    bool seen = look();
    for (auto i = queues; queues > 0 && i < (seen ? fewest_looks : looks) && !posted_; i += queues) seen |= look();
    const bool ran = run_handlers();
    if (ran || seen) {
      until = time_point::min();
      if (ran || !spins) looks = fewest_looks;
      quiet = 0;
      continue;
    }
    quiet += looks;
    if (queues > 0) looks = std::min(2 * looks, spins ? most_spinning_looks : most_looks);
    if (spins && channels_ > 0) {
      if (quiet < before_yield) continue;
      quiet = 0;
      std::this_thread::yield();
      const auto before = std::exchange(displaced, times_displaced());
      const bool wanted = displaced != before;
      before_yield = wanted ? fewest_looks_before_yield : std::min(2 * before_yield, most_looks_before_yield);
    } else if (until == time_point::min()) {
      until = clock::now() + spin_;
    } else if (clock::now() >= until) {
      return;
    }
  }
}

/// What is ready; whether there was something.
bool worker::run_handlers() {
  posted_ = false;
  polling_ = true;
  const bool any = context_.poll() > 0;
  polling_ = false;
  return any;
}

/// Of the scheduler; whether it needed one.
bool worker::next_turn() {
  if (!std::exchange(again_, false)) return false;
  begin();
  end();
  return true;
}

/// What there is to do beside the context's handlers; whether there was something.
bool worker::look() {
  bool any = next_turn();
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i]->fetch()) continue;
    any = true;
    begin();
    sources_[i]->deliver();
    end();
  }
  return any;
}

/// False: something has happened meanwhile.
bool worker::arm_sources() {
  for (const auto& each : sources_) {
    if (!each->arm()) return false;
  }
  return true;
}

worker::~worker() {
  stop();
}

void worker::stop() {
  if (!thread_.joinable()) return;
  boost::asio::post(context_, [this] {
    ending_ = true;
    context_.stop();
  });
  thread_.join();
  stopped_ = true;
  while (posting_ != 0) std::this_thread::yield();
  sources_.clear();
  work_.reset();
  context_.drop_handlers();
}

void worker::begin() {
  if (depth_++ == 0) now_ = clock::now();
}

void worker::end() {
  // The settling belongs to the batch: what it causes settles with it.
  if (depth_ == 1) settle();
  --depth_;
}

void worker::touch(std::shared_ptr<batched> part) {
  if (std::exchange(part->touched, true)) return;
  part->batch_began(now_);
  touched_.push_back(std::move(part));
}

void worker::settle() {
  // Completions may touch further parts: the list grows while it is worked through.
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const auto part = touched_[i];
    part->touched = false; // an event from here on puts it behind the end of the list
    part->post_gathered();
  }
  const bool more = let_slices_go();
  // What a channel tells as it is flushed may touch further parts, too.
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const auto part = touched_[i];
    part->flush_channels();
  }
  for (const auto& part : touched_) part->touched = false;
  touched_.clear();
  if (!more || std::exchange(again_, true) || !polling_) return;
  // It takes its turn among the handlers: such that post one another would keep look() waiting.
  post([this] { next_turn(); });
}

/// Whether there are slices that may go, and had not their turn.
bool worker::let_slices_go() {
  bool more = false;
  auto due = time_point::max();
  for (const auto& each : carriers_) {
    auto& by = each->scheduler;
    by.advance(now_);
    if (by.run(send_turn) > 0) realtime_ ? each->board.seen(now_) : each->board.bulk_sent(now_);
    const auto budget = by.under_way().state();
    each->limit.store(budget.limit, std::memory_order_relaxed);
    each->bytes.store(budget.bytes, std::memory_order_relaxed);
    more |= !by.idle();
    due = std::min(due, by.next_due());
  }
  // A lane at its limit goes on by time alone.
  rail_timer_.wait_until(due, [this] {
    begin();
    end();
  });
  return more;
}

lanes::scheduler& worker::scheduler_of(const rail& which) {
  auto& known = by_slot_[which.slot];
  if (known == nullptr) {
    const auto budget = realtime_ ? lanes::scheduler::no_budget : limits_.lane_budget.value();
    carriers_.push_back(std::make_unique<carrier>(board_, which, limits_, budget));
    known = carriers_.back().get();
  }
  return known.load()->scheduler;
}

void worker::set(const tunables& chosen) {
  limits_ = chosen;
  for (const auto& each : carriers_) {
    each->scheduler.set(lanes::policies_of(limits_, carried(limits_, each->says)));
  }
}

void worker::add_to(rail_metrics& sum, const rail& which) const noexcept {
  const auto* on = by_slot_[which.slot].load();
  if (on == nullptr) return;
  on->scheduler.arrivals().add_to(sum.realtime_arrival);
  if (realtime_) return; // it has no budget
  sum.budget.limit += on->limit.load(std::memory_order_relaxed);
  sum.budget.under_way += on->bytes.load(std::memory_order_relaxed);
  const auto& waits = on->scheduler.waits();
  sum.waits.budget += waits.budget;
  sum.waits.limit += waits.limit;
  sum.waits.channel += waits.channel;
}

} // namespace weft::fabrics
