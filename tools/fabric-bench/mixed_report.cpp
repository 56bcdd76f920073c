// Rows, ratios and verdict of `fabric-bench mixed`.
#include "fabric-bench/mixed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace weft::tools {
namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

/// What the naive arm must suffer at least, or the load proves nothing.
constexpr double least_naive_ratio = 3;

constexpr const char* names[mixed_phase_count] = {"idle", "alone", "mixed", "naive-idle", "naive", "naive-full"};

struct spread {
  double median = nothing;
  double least = nothing;
  double most = nothing;
};

/// NaN where a value is missing, so that no repeat hides.
spread spread_of(std::vector<double> values) {
  const bool whole =
      !values.empty() && std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
  if (!whole) return {};
  std::sort(values.begin(), values.end());
  const auto middle = values.size() / 2;
  const auto median = values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

double ratio(double above, double below) {
  return below > 0 ? above / below : nothing;
}

class judgement {
public:
  judgement(const bench_arguments& arguments, const std::vector<lane_plan>& plans,
            const std::vector<std::uint32_t>& weights, const std::vector<mixed_cells>& repeats, bench_report& report)
      : arguments_(arguments), plans_(plans), weights_(weights), repeats_(repeats), report_(report) {}

  void run() {
    for (std::size_t phase = 0; phase < mixed_phase_count; ++phase) {
      for (std::size_t plan = 0; plan < plans_.size(); ++plan) add_row(phase, plan);
    }
    for (std::size_t plan = 0; plan < plans_.size(); ++plan) {
      if (plans_[plan].paced()) judge_latency(plan);
    }
    // With a change in the middle there is no one rate and no one weight.
    if (arguments_.change.empty()) judge_bulk();
    tell_shares();
    if (!arguments_.change.empty()) tell_change();
    if (report_.errors() > 0) fail("there were errors");
    report_.judged = !failed_.empty()         ? exit_code::failed
                     : !inconclusive_.empty() ? exit_code::inconclusive
                                              : exit_code::ok;
    for (const auto& why : failed_) report_.notes.push_back("failed: " + why);
    for (const auto& why : inconclusive_) report_.notes.push_back("inconclusive: " + why);
    report_.notes.push_back(fmt::format("verdict: {}", report_.verdict()));
  }

private:
  void fail(std::string_view why) { failed_.emplace_back(why); }
  void doubt(std::string_view why) { inconclusive_.emplace_back(why); }

  [[nodiscard]] static const mixed_cell& cell(const mixed_cells& of, mixed_phase phase, std::size_t plan) {
    return of[static_cast<std::size_t>(phase)][plan];
  }

  void add_row(std::size_t phase, std::size_t index) {
    const auto& plan = plans_[index];
    mixed_cell sum;
    for (const auto& each : repeats_) sum.add(each[phase][index]);
    if (sum.seconds == 0) return;
    const bool slow = phase == static_cast<std::size_t>(mixed_phase::naive_idle) ||
                      phase == static_cast<std::size_t>(mixed_phase::naive);
    bench_run row{.name = fmt::format("{} {}", name(plan.lane), names[phase]),
                  .lane = plan.lane,
                  .operation = plan.paced() ? "request"
                               : plan.write ? "write"
                                            : "read",
                  .size = plan.size,
                  .achieved = sum.rate(),
                  .latencies = sum.latencies,
                  .errors = sum.errors,
                  .first_error = sum.first_error,
                  .from_intended_time = plan.paced()};
    if (plan.paced()) row.offered = slow ? std::min(plan.rate, naive_rate) : plan.rate;
    row.bytes_per_second = plan.paced() ? sum.rate() * static_cast<double>(plan.size) : sum.bytes_rate();
    report_.runs.push_back(std::move(row));
  }

  /// Whether the load of the phase was done in every repeat.
  [[nodiscard]] bool achieved(mixed_phase phase, std::size_t plan) const {
    return std::all_of(repeats_.begin(), repeats_.end(), [&](const mixed_cells& each) {
      return cell(each, phase, plan).rate() >= 0.99 * plans_[plan].rate;
    });
  }

  template <class Value>
  [[nodiscard]] spread over_repeats(Value value) const {
    std::vector<double> values;
    for (const auto& each : repeats_) values.push_back(value(each));
    return spread_of(std::move(values));
  }

  [[nodiscard]] spread latency_ratio(std::size_t plan, mixed_phase above, mixed_phase below, double share) const {
    return over_repeats([&](const mixed_cells& of) {
      const auto at = [&](mixed_phase phase) {
        return std::chrono::duration<double>(cell(of, phase, plan).latencies.quantile(share)).count();
      };
      return ratio(at(above), at(below));
    });
  }

  void tell(const std::string& key, const spread& value) {
    report_.sum.emplace_back(key, value.median);
    report_.sum.emplace_back(key + "_min", value.least);
    report_.sum.emplace_back(key + "_max", value.most);
  }

  [[nodiscard]] static std::string text(const spread& value) {
    if (!std::isfinite(value.median)) return "-";
    return fmt::format("{:.2f} [{:.2f}-{:.2f}]", value.median, value.least, value.most);
  }

  void judge_latency(std::size_t plan) {
    const auto lane = name(plans_[plan].lane);
    const bool beside_others = ran(mixed_phase::idle);
    if (!achieved(beside_others ? mixed_phase::idle : mixed_phase::mixed, plan)) {
      doubt(fmt::format("{}: even alone it did not reach the rate offered", lane));
    } else if (beside_others && !achieved(mixed_phase::mixed, plan)) {
      fail(fmt::format("{}: beside the others it did not reach the rate offered", lane));
    }
    if (!beside_others) return;
    const auto p50 = latency_ratio(plan, mixed_phase::mixed, mixed_phase::idle, 0.5);
    const auto p99 = latency_ratio(plan, mixed_phase::mixed, mixed_phase::idle, 0.99);
    tell(fmt::format("{}_p50_ratio", lane), p50);
    tell(fmt::format("{}_p99_ratio", lane), p99);
    report_.notes.push_back(fmt::format("{}: mixed/idle p50 {}, p99 {}", lane, text(p50), text(p99)));
    if (!(p99.median <= arguments_.most_p99_ratio)) {
      fail(fmt::format("{}: p99 is more than {} times that of idle", lane, arguments_.most_p99_ratio));
    }
    if (!ran(mixed_phase::naive)) return;
    const auto naive = latency_ratio(plan, mixed_phase::naive, mixed_phase::naive_idle, 0.5);
    const bool overloaded = !achieved(mixed_phase::naive_full, plan);
    const auto full = overloaded ? spread{} : latency_ratio(plan, mixed_phase::naive_full, mixed_phase::idle, 0.99);
    tell(fmt::format("{}_naive_p50_ratio", lane), naive);
    tell(fmt::format("{}_naive_p99_ratio", lane), full);
    report_.notes.push_back(fmt::format("{}: lanes off, mixed/idle p50 at {}/s {}, p99 at {}/s {}", lane,
                                        std::min(naive_rate, plans_[plan].rate), text(naive), plans_[plan].rate,
                                        overloaded ? "overloaded" : text(full)));
    if (!(naive.median >= least_naive_ratio)) {
      doubt(fmt::format("{}: lanes off it hardly waits either, so nothing is shown", lane));
    }
  }

  [[nodiscard]] bool ran(mixed_phase phase) const {
    const auto& cells = repeats_.front()[static_cast<std::size_t>(phase)];
    return std::any_of(cells.begin(), cells.end(), [](const mixed_cell& each) { return each.seconds > 0; });
  }

  [[nodiscard]] double bulk_rate(const mixed_cells& of, mixed_phase phase) const {
    double sum = 0;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (!plans_[i].paced()) sum += cell(of, phase, i).bytes_rate();
    }
    return sum;
  }

  void judge_bulk() {
    if (!ran(mixed_phase::alone)) return;
    const auto kept = over_repeats([this](const mixed_cells& of) {
      return ratio(bulk_rate(of, mixed_phase::mixed), bulk_rate(of, mixed_phase::alone));
    });
    tell("bulk_kept", kept);
    report_.notes.push_back(fmt::format("transfers: mixed/alone {} of their rate", text(kept)));
    if (!std::isfinite(kept.median)) {
      doubt("the transfers did not move a byte alone");
    } else if (kept.median < arguments_.least_kept) {
      fail(fmt::format("the transfers kept less than {} of their rate", arguments_.least_kept));
    }
  }

  /// Of the lanes that take what they get, by weight.
  void tell_shares() {
    double gap = 0;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (plans_[i].paced()) continue;
      const auto share = over_repeats([&](const mixed_cells& of) {
        return ratio(cell(of, mixed_phase::mixed, i).bytes_rate(), bulk_rate(of, mixed_phase::mixed));
      });
      tell(fmt::format("{}_share", name(plans_[i].lane)), share);
      for (const auto& each : repeats_) gap = std::max(gap, cell(each, mixed_phase::mixed, i).longest_gap);
    }
    const auto transfers = std::count_if(plans_.begin(), plans_.end(), [](const auto& plan) { return !plan.paced(); });
    if (transfers == 0) return;
    report_.sum.emplace_back("longest_gap_ms", gap * 1000);
    report_.notes.push_back(fmt::format("longest time without a byte of one of the lanes: {:.1f} ms", gap * 1000));
    if (transfers == 1 || !arguments_.change.empty()) return;
    const auto jain = over_repeats([this](const mixed_cells& of) { return fairness(of); });
    tell("jain", jain);
    report_.notes.push_back(fmt::format("fairness by weight (Jain): {}", text(jain)));
  }

  /// How soon each lane's transfers had the rate that a change gave them.
  void tell_change() {
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (plans_[i].paced()) continue;
      const auto settled = over_repeats([&](const mixed_cells& of) {
        const auto seconds = cell(of, mixed_phase::mixed, i).settled;
        return seconds < 0 || seconds >= never_settled ? nothing : seconds * 1000;
      });
      tell(fmt::format("{}_settled_ms", name(plans_[i].lane)), settled);
      report_.notes.push_back(
          fmt::format("{}: at its new rate, within 5%, after {} ms", name(plans_[i].lane), text(settled)));
    }
  }

  /// Jain's index of the rates by weight: 1 when all have what they should.
  [[nodiscard]] double fairness(const mixed_cells& of) const {
    std::vector<double> each;
    for (std::size_t i = 0; i < plans_.size(); ++i) {
      if (!plans_[i].paced()) each.push_back(cell(of, mixed_phase::mixed, i).bytes_rate() / weights_[i]);
    }
    const auto sum = std::accumulate(each.begin(), each.end(), 0.0);
    const auto squares = std::inner_product(each.begin(), each.end(), each.begin(), 0.0);
    return ratio(sum * sum, static_cast<double>(each.size()) * squares);
  }

  const bench_arguments& arguments_;
  const std::vector<lane_plan>& plans_;
  const std::vector<std::uint32_t>& weights_;
  const std::vector<mixed_cells>& repeats_;
  bench_report& report_;
  std::vector<std::string> failed_;
  std::vector<std::string> inconclusive_;
};

} // namespace

void mixed_cell::add(const mixed_cell& more) {
  latencies.merge(more.latencies);
  operations += more.operations;
  bytes += more.bytes;
  seconds += more.seconds;
  longest_gap = std::max(longest_gap, more.longest_gap);
  settled = std::max(settled, more.settled);
  errors += more.errors;
  if (first_error.empty()) first_error = more.first_error;
}

void judge_mixed(const bench_arguments& arguments, const std::vector<lane_plan>& plans,
                 const std::vector<std::uint32_t>& weights, const std::vector<mixed_cells>& repeats,
                 bench_report& report) {
  judgement{arguments, plans, weights, repeats, report}.run();
}

} // namespace weft::tools
