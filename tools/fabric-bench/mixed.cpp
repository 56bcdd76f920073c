// The phases and their loads.
#include "fabric-bench/mixed.hpp"

#include "fabric-bench/companion.hpp"
#include "fabric-bench/pattern.hpp"
#include "fabric-bench/plot.hpp"
#include "fabric-bench/transfer_load.hpp"

#include <weft/units.hpp>

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <thread>

namespace weft::tools {
namespace {

using clock = std::chrono::steady_clock;

/// How often bytes are looked at, for the longest gap between them.
constexpr auto look_interval = std::chrono::milliseconds{2};

/// What the second process tells when all went well.
constexpr std::string_view done_word = "done";

/// Errors: os_failure, with what the second process tells instead.
result<void> hear_done(companion& other) {
  const auto heard = other.hear();
  if (!heard) return heard.error();
  return *heard == done_word ? result<void>{} : error{errc::os_failure, *heard};
}

/// A fabric, its link, and memory for the transfers.
struct arm {
  fabric on;
  link to;
  region memory;
  remote_region remote;
};

/// All plans' transfers have their own part of both regions.
std::uint64_t memory_of(const std::vector<lane_plan>& plans) {
  std::uint64_t sum = 0;
  for (const auto& plan : plans) sum += plan.streams * plan.size;
  return sum;
}

result<arm> open_arm(const config& settings, const std::string& address, const std::vector<lane_plan>& plans,
                     const bench_arguments& arguments, interrupt& signals) {
  auto on = fabric::open(settings);
  if (!on) return on.error();
  arm made{std::move(*on), {}, {}, {}};
  auto to = connect(made.on, address, arguments.common, signals);
  if (!to) return to.error();
  made.to = *to;
  const auto bytes = memory_of(plans);
  if (bytes == 0) return made;
  pending<remote_region> opening;
  made.to.open(bench_region, opening.handler());
  auto opened = opening.get(signals);
  if (opened.code) {
    return error{to_errc(opened.code),
                 fmt::format("{}: region \"{}\" (is it `fabric-bench serve`?)", address, bench_region)};
  }
  made.remote = opened.value;
  if (bytes > made.remote.size) {
    return error{errc::invalid_argument,
                 fmt::format("the lanes' transfers need {}, and the server's region has only {}; lower size or "
                             "streams, or start the server with a larger --size",
                             to_string(byte_count{bytes}), to_string(byte_count{made.remote.size}))};
  }
  auto memory = made.on.allocate(byte_count{bytes});
  if (!memory) return memory.error();
  made.memory = std::move(*memory);
  fill_pattern(made.memory.bytes(), bench_seed);
  return made;
}

/// The settings of a fabric whose lanes are all the same.
result<config> without_lanes(config settings) {
  for (const auto& [key, value] : {std::pair{"lane.standard.weight", "1"},
                                   {"lane.bulk.weight", "1"},
                                   {"lane.background.weight", "1"},
                                   {"lane.realtime.dscp", "0"},
                                   {"lane.standard.dscp", "0"},
                                   {"lane.bulk.dscp", "0"},
                                   {"lane.background.dscp", "0"},
                                   {"lane.budget", "1TiB"}}) {
    if (const auto set = settings.set(key, value); !set) return set.error();
  }
  return settings;
}

result<config> with_lanes(config settings, const std::vector<lane_plan>& plans) {
  for (const auto& plan : plans) {
    for (const auto& [key, value] : plan.settings) {
      if (const auto set = settings.set(key, value); !set) return set.error();
    }
  }
  return settings;
}

class measurement {
public:
  measurement(const bench_arguments& arguments, std::vector<lane_plan> plans, std::optional<mixed_change> change,
              interrupt& signals, companion* other)
      : arguments_(arguments), plans_(std::move(plans)), change_(std::move(change)), signals_(signals), other_(other) {}

  /// `server`: null where it is another process.
  result<void> open(const config& laned, const config& naive, const std::string& address, fabric* server) {
    server_ = server;
    for (const auto* settings : {&laned, &naive}) {
      auto made = open_arm(*settings, address, plans_, arguments_, signals_);
      if (!made) return made.error();
      arms_.push_back(std::move(*made));
    }
    if (!change_) return {};
    auto& on = arms_.front().on;
    for (const auto& [name, value] : change_->settings) {
      auto now = on.get(name);
      if (!now) return now.error();
      before_.emplace_back(name, std::move(*now));
    }
    // What cannot be is better known now than in the middle.
    if (const auto set = on.set(change_->settings); !set) return set.error();
    return on.set(before_);
  }

  result<void> run(std::vector<mixed_cells>& repeats) {
    for (std::uint32_t i = 0; i < arguments_.repeat; ++i) {
      auto& cells = repeats.emplace_back();
      for (auto& phase : cells) phase.resize(plans_.size());
      for (std::uint32_t cycle = 0; cycle < arguments_.cycles; ++cycle) {
        for (const auto phase : phases()) {
          if (const auto done = run(phase, cells[static_cast<std::size_t>(phase)]); !done) return done;
        }
      }
    }
    return {};
  }

  /// What the second process does: the paced loads of each phase that it is told, until it is told no more.
  void serve() {
    while (const auto told = other_->hear()) {
      mixed_cells::value_type cells(plans_.size());
      const auto done = run(static_cast<mixed_phase>(told->front()), cells);
      for (std::size_t i = 0; i < cells.size(); ++i) other_->put(i, cells[i]);
      if (!other_->tell(done ? done_word : done.error().message())) return;
    }
  }

private:
  struct running {
    std::shared_ptr<request_load> requests;
    std::future<request_count> requested;
    std::future<transfer_count> transferred;
  };

  [[nodiscard]] std::vector<mixed_phase> phases() const {
    const auto paced = [](const lane_plan& plan) { return plan.paced(); };
    const bool both =
        std::any_of(plans_.begin(), plans_.end(), paced) && !std::all_of(plans_.begin(), plans_.end(), paced);
    if (!both) return {mixed_phase::mixed};
    std::vector<mixed_phase> all = {mixed_phase::idle, mixed_phase::alone, mixed_phase::mixed};
    if (arguments_.naive) {
      all.insert(all.end(), {mixed_phase::naive_idle, mixed_phase::naive, mixed_phase::naive_full});
    }
    return all;
  }

  [[nodiscard]] static bool takes_part(const lane_plan& plan, mixed_phase phase) noexcept {
    if (phase == mixed_phase::alone) return !plan.paced();
    return plan.paced() || (phase != mixed_phase::idle && phase != mixed_phase::naive_idle);
  }

  result<void> run(mixed_phase phase, std::vector<mixed_cell>& cells) {
    const bool laned = phase == mixed_phase::idle || phase == mixed_phase::mixed;
    auto& with = arms_[laned ? 0 : 1];
    std::vector<running> loads(plans_.size());
    std::uint64_t first_offset = 0;
    const auto begin = clock::now();
    bool elsewhere = false;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      const bool goes = takes_part(plans_[i], phase);
      if (goes && is_mine(plans_[i])) start(with, plans_[i], phase, first_offset, loads[i]);
      elsewhere |= goes && !is_mine(plans_[i]);
      first_offset += plans_[i].streams * plans_[i].size;
    }
    elsewhere &= other_ != nullptr && !other_->is_second();
    if (elsewhere) {
      const char told = static_cast<char>(phase);
      if (const auto asked = other_->tell({&told, 1}); !asked) return asked;
    }
    const auto watched = watch(with, begin + warm_up(), begin + warm_up() + arguments_.phase, phase, cells);
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (const auto ended = collect(loads[i], cells[i]); !ended) return ended;
    }
    if (elsewhere) {
      if (const auto heard = results_of_other(cells); !heard) return heard;
    }
    if (!watched) return watched.error();
    return *watched ? result<void>{} : error{errc::cancelled, "mixed"};
  }

  [[nodiscard]] bool is_mine(const lane_plan& plan) const noexcept {
    return other_ == nullptr || plan.paced() == other_->is_second();
  }

  result<void> results_of_other(std::vector<mixed_cell>& cells) {
    if (const auto done = hear_done(*other_); !done) return done;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (!is_mine(plans_[i])) other_->add_to(i, cells[i]);
    }
    return {};
  }

  /// What of a phase is not counted, while the loads find their pace.
  [[nodiscard]] std::chrono::nanoseconds warm_up() const { return arguments_.phase / 5; }

  void start(arm& with, const lane_plan& plan, mixed_phase phase, std::uint64_t first_offset, running& load) const {
    const bool slow = phase == mixed_phase::naive_idle || phase == mixed_phase::naive;
    const bool laned = phase == mixed_phase::idle || phase == mixed_phase::mixed;
    if (plan.paced()) {
      // Without lanes a request goes where everything else goes.
      const auto lane = laned || plan.lane != lane::realtime ? plan.lane : lane::standard;
      const request_plan requests{.lane = lane,
                                  .size = plan.size,
                                  .rate = slow ? std::min(plan.rate, naive_rate) : plan.rate,
                                  .warm_up = warm_up(),
                                  .duration = arguments_.phase,
                                  .grace = arguments_.phase / 20};
      load.requests = std::make_shared<request_load>(with.to, requests);
      load.requested = load.requests->run();
      return;
    }
    const transfer_plan transfers{.write = plan.write,
                                  .lane = plan.lane,
                                  .size = plan.size,
                                  .depth = plan.streams,
                                  .first_offset = first_offset,
                                  .warm_up = warm_up(),
                                  .duration = arguments_.phase};
    load.transferred =
        std::make_shared<transfer_load>(with.to, with.memory, with.remote, transfers, with.to.executor(plan.lane))
            ->run();
  }

  /// Bytes of each plan's transfers that the receiver has verified.
  [[nodiscard]] std::vector<std::uint64_t> arrived(const arm& with) const {
    const auto counted = with.on.snapshot();
    std::vector<std::uint64_t> bytes;
    for (const auto& plan : plans_) {
      const auto& of = counted.of(plan.lane);
      bytes.push_back(plan.write ? of.bytes_delivered : of.bytes_received);
    }
    return bytes;
  }

  /// What this process sends, also as the server of reads.
  result<void> change(arm& with, const std::vector<std::pair<std::string, std::string>>& settings) const {
    if (server_ != nullptr) {
      if (const auto set = server_->set(settings); !set) return set;
    }
    return with.on.set(settings);
  }

  /// Counts from one moment to another. False: a signal asked to stop.
  result<bool> watch(arm& with, clock::time_point from, clock::time_point until, mixed_phase phase,
                     std::vector<mixed_cell>& cells) {
    std::this_thread::sleep_until(from);
    const auto first = arrived(with);
    const auto begin = clock::now();
    auto last = first;
    std::vector<clock::time_point> grew(plans_.size(), begin);
    std::vector<double> gaps(plans_.size(), 0.0);
    std::vector<std::vector<std::pair<std::chrono::nanoseconds, std::uint64_t>>> counted(plans_.size());
    auto now = begin;
    bool changed = phase != mixed_phase::mixed || !change_;
    while (now < until && !signals_.requested()) {
      std::this_thread::sleep_until(std::min(until, now + look_interval));
      now = clock::now();
      if (!changed && now - from >= change_->after) {
        changed = true;
        if (const auto set = change(with, change_->settings); !set) return set.error();
      }
      auto bytes = arrived(with);
      for (std::size_t i = 0; i < plans_.size(); ++i) {
        if (change_) counted[i].emplace_back(now - from, bytes[i]);
        gaps[i] = std::max(gaps[i], std::chrono::duration<double>(now - grew[i]).count());
        if (bytes[i] != last[i]) grew[i] = now;
      }
      last = std::move(bytes);
    }
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (plans_[i].paced() || !takes_part(plans_[i], phase)) continue;
      cells[i].bytes += last[i] - first[i];
      cells[i].seconds += std::chrono::duration<double>(now - begin).count();
      cells[i].longest_gap = std::max(cells[i].longest_gap, gaps[i]);
      if (phase != mixed_phase::mixed || !change_) continue;
      const auto settled = settled_after(counted[i], change_->after);
      const auto seconds = settled ? std::chrono::duration<double>(*settled).count() : never_settled;
      cells[i].settled = std::max(cells[i].settled, seconds);
    }
    if (phase == mixed_phase::mixed && change_) {
      if (const auto back = change(with, before_); !back) return back.error();
    }
    return now >= until;
  }

  /// Waits until nothing of it is under way any more.
  result<void> collect(running& load, mixed_cell& cell) {
    if (load.requested.valid()) {
      auto counted = wait_for(load.requested, signals_);
      if (!counted) {
        load.requests->stop();
        load.requested.wait();
        return error{errc::cancelled, "mixed"};
      }
      cell.add({.latencies = counted->latencies,
                .operations = counted->in_time,
                .seconds = std::chrono::duration<double>(arguments_.phase).count(),
                .errors = counted->errors,
                .first_error = counted->first_error});
    } else if (load.transferred.valid()) {
      auto counted = wait_for(load.transferred, signals_);
      if (!counted) return error{errc::cancelled, "mixed"};
      cell.add({.latencies = counted->latencies,
                .operations = counted->operations,
                .errors = counted->errors,
                .first_error = counted->first_error});
    }
    return {};
  }

  const bench_arguments& arguments_;
  const std::vector<lane_plan> plans_;
  const std::optional<mixed_change> change_;
  std::vector<std::pair<std::string, std::string>> before_; ///< what it changes
  interrupt& signals_;
  std::vector<arm> arms_; ///< with lanes, and without
  fabric* server_ = nullptr;
  companion* const other_; ///< null: this process does everything
};

/// The second process, to its end.
void be_second(companion& other, const bench_arguments& arguments, std::vector<lane_plan> plans, const config& laned,
               const config& naive, interrupt& signals) {
  const auto address = other.hear();
  if (!address) return;
  for (auto& plan : plans) {
    if (!plan.paced()) plan.streams = 0; // no memory for them
  }
  measurement measuring{arguments, std::move(plans), std::nullopt, signals, &other};
  const auto opened = measuring.open(laned, naive, *address, nullptr);
  if (other.tell(opened ? done_word : opened.error().message()) && opened) measuring.serve();
}

result<std::vector<std::uint32_t>> weights_of(const config& settings, const std::vector<lane_plan>& plans) {
  std::vector<std::uint32_t> weights;
  for (const auto& plan : plans) {
    auto& weight = weights.emplace_back(1);
    if (plan.lane == lane::realtime) continue; // it has none
    const auto text = settings.get(fmt::format("lane.{}.weight", name(plan.lane)));
    if (!text) return text.error();
    std::from_chars(text->data(), text->data() + text->size(), weight);
  }
  return weights;
}

result<std::vector<lane_plan>> plans_of(const bench_arguments& arguments) {
  std::vector<lane_plan> plans;
  for (const auto& text : arguments.lanes) {
    auto plan = parse_lane_plan(text);
    if (!plan) return plan.error();
    for (const auto& other : plans) {
      if (other.lane != plan->lane) continue;
      return error{errc::invalid_argument, fmt::format("--lane {}: the lane has a load already", text)};
    }
    plans.push_back(std::move(*plan));
  }
  return plans;
}

} // namespace

result<void> bench_mixed(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  const auto plans = plans_of(arguments);
  if (!plans) return plans.error();
  const auto laned = with_lanes(arguments.common.configuration, *plans);
  if (!laned) return laned.error();
  const auto naive = without_lanes(arguments.common.configuration);
  if (!naive) return naive.error();
  const auto weights = weights_of(*laned, *plans);
  if (!weights) return weights.error();
  std::optional<companion> other;
  if (arguments.processes) {
    auto started = companion::start(plans->size());
    if (!started) return started.error();
    other.emplace(std::move(*started));
    if (other->is_second()) {
      be_second(*other, arguments, *plans, *laned, *naive, signals);
      ::_exit(0); // what the other has begun, its output say, is not ended here
    }
    report.notes.emplace_back("requests at a rate are sent by a process of their own, beside that of the transfers");
  }
  std::optional<bench_server> server;
  auto address = arguments.address;
  if (address.empty()) {
    auto started = bench_server::start(*laned, "127.0.0.1:0", std::max(default_bench_region, memory_of(*plans)));
    if (!started) return started.error();
    server.emplace(std::move(*started));
    address = server->address();
    report.notes.push_back(fmt::format("no address given: the server is in this process, at {}", address));
  }
  std::optional<mixed_change> change;
  if (!arguments.change.empty()) {
    auto read = parse_change(arguments.change);
    if (!read) return read.error();
    if (read->after + std::chrono::milliseconds{100} > arguments.phase) {
      return error{
          errc::invalid_argument,
          fmt::format("--at {}: the phase ends sooner than 100ms after it; make --phase longer", arguments.change)};
    }
    change = std::move(*read);
    const bool elsewhere = std::any_of(plans->begin(), plans->end(), [](const auto& plan) { return !plan.write; });
    if (elsewhere && !arguments.address.empty()) {
      return error{errc::invalid_argument,
                   fmt::format("--at {}: what is read is sent by {}, whose settings stay; use op=write",
                               arguments.change, arguments.address)};
    }
  }
  measurement measuring{arguments, *plans, std::move(change), signals, other ? &*other : nullptr};
  if (const auto opened = measuring.open(*laned, *naive, address, server ? &server->on() : nullptr); !opened)
    return opened;
  if (other) {
    if (const auto told = other->tell(address); !told) return told;
    if (const auto opened = hear_done(*other); !opened) return opened;
  }
  std::vector<mixed_cells> repeats;
  if (const auto done = measuring.run(repeats); !done) return done;
  judge_mixed(arguments, *plans, *weights, repeats, report);
  return arguments.plot.empty() ? result<void>{} : plot_latencies(arguments.plot, report);
}

} // namespace weft::tools
