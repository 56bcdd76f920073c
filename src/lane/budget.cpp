#include "lane/budget.hpp"

#include <algorithm>

namespace weft::lanes {
namespace {

/// Realtime traffic counts for so long, and what was heard of its latency.
constexpr duration crowd_lasts = std::chrono::seconds(1);
constexpr duration latency_lasts = std::chrono::milliseconds(50);
/// Queues that are aimed at while nobody waits: of so many times the empty way's lag, within bounds; of one more where
/// that is long already.
constexpr int quiet_queue = 8;
constexpr duration least_quiet_queue = std::chrono::milliseconds(1);
constexpr duration most_quiet_queue = std::chrono::milliseconds(8);
/// While realtime traffic is about, but nothing is heard of its latency: a quarter of the lag.
constexpr duration least_crowded_queue = std::chrono::microseconds(10);
constexpr duration most_crowded_queue = std::chrono::microseconds(200);
/// What realtime latency may rise by: a third of that of an empty way, or so much.
constexpr duration least_rise = std::chrono::microseconds(10);
constexpr std::uint32_t round_marks = 8;
constexpr duration probe_every = std::chrono::seconds(5);
constexpr duration probe_again = std::chrono::seconds(1); ///< when the least is still too much
constexpr duration probe_lasts = std::chrono::milliseconds(10);
/// The first latency in a probe may be from before it.
constexpr std::uint32_t probe_latencies = 3;
/// Rates are measured over so long, and the best is remembered once or twice as long as this. So much of it is kept.
constexpr duration rate_interval = std::chrono::milliseconds(10);
constexpr duration rates_last = std::chrono::seconds(30);
constexpr double kept_rate = 0.88;
constexpr double forgetting = 0.995;
constexpr double most_shrinking = 0.7;
constexpr double most_growth = 1.25;
constexpr double careful_growth = 1.1; ///< where a step too far is felt

double share_of(duration part, duration whole) noexcept {
  return static_cast<double>(part.count()) / static_cast<double>(std::max<duration::rep>(whole.count(), 1));
}

} // namespace

std::uint64_t budget::quantum() const noexcept {
  const auto quarter = limit_ / 4;
  return std::clamp(quarter - quarter % grain, grain, most_quantum);
}

void budget::remove(flight& of) noexcept {
  bytes_ -= of.write_off();
  std::erase(flights_, &of);
}

bool budget::crowded(time_point last, time_point now) noexcept {
  return last != time_point{} && now - last < crowd_lasts;
}

void budget::advance(time_point now, const realtime_signal& realtime) noexcept {
  now_ = now;
  if (fixed_ > 0) return;
  const bool about = crowded(realtime.last_seen(), now);
  if (about) hear(realtime);
  if (about == crowded_) return;
  crowded_ = about;
  set_limit(std::exchange(other_limit_, std::exchange(probing_, false) ? resumes_at_ : limit_));
}

void budget::hear(const realtime_signal& realtime) noexcept {
  const auto told = realtime.now_is();
  if (told.count == realtime_.count) return;
  const bool first = smooth_ == duration::zero() || told.at - realtime_.at > latency_lasts;
  realtime_ = told;
  // One that is far off counts for no more than a bad one.
  const auto bounded = empty_latency_ > duration::zero() ? std::min(told.typical, 2 * empty_latency_) : told.typical;
  smooth_ = first ? bounded : (smooth_ + bounded) / 2;
  unheeded_ = true;
  if (!probing_ || lag_count_ == 0) return;
  // The mean of what was heard once the way was empty.
  if (heard_count_ == 1) empty_latency_ = told.typical;
  if (heard_count_ > 1) empty_latency_ = (empty_latency_ * (heard_count_ - 1) + told.typical) / heard_count_;
  ++heard_count_;
}

bool budget::probe_is_due() const noexcept {
  return now_ - probed_at_ > probe_every || (crowded_ && now_ - latency_at_ > probe_every);
}

/// Keeps the way empty for a moment.
void budget::probe() noexcept {
  probing_ = true;
  probed_at_ = now_;
  lag_count_ = heard_count_ = 0;
  resumes_at_ = std::exchange(limit_, least_crowded);
}

void budget::end_probe() noexcept {
  probing_ = false;
  std::nth_element(lags_.begin(), lags_.begin() + probe_marks / 2, lags_.end());
  empty_lag_ = lags_[probe_marks / 2];
  if (crowded_) {
    latency_at_ = now_;
    if (heard_count_ < 2) empty_latency_ = duration::zero();
    smooth_ = empty_latency_;
  }
  set_limit(resumes_at_);
}

void budget::set_limit(std::uint64_t wanted) noexcept {
  limit_ = std::clamp(wanted - wanted % grain, least(), most);
  round_bytes_ = 0;
  round_marks_ = 0;
  round_lag_ = duration::max();
  limited_ = false;
}

void budget::released(flight& to, std::uint64_t bytes, bool marked, time_point now) noexcept {
  bytes_ += to.released(bytes, marked, now);
  limited_ |= !open();
}

void budget::landed(flight& from, std::uint64_t marks, time_point now) noexcept {
  const auto told = from.landed(marks, now);
  bytes_ -= told.bytes;
  if (told.marks == 0 || fixed_ > 0) return;
  now_ = now;
  measure(told.bytes, now);
  if (probing_) {
    // What was released before tells of the queue of then.
    if (now - told.lag <= probed_at_) return;
    if (lag_count_ == 0) probed_at_ = now; // there may have been nothing to send since it began
    lags_[lag_count_++ % probe_marks] = told.lag;
    const bool enough = !crowded_ || heard_count_ > probe_latencies || now - probed_at_ > probe_lasts;
    if (lag_count_ >= probe_marks && enough) end_probe();
    return;
  }
  round_bytes_ += told.bytes;
  ++round_marks_;
  round_lag_ = std::min(round_lag_, told.lag);
  if (round_marks_ >= round_marks && round_bytes_ >= limit_) end_round();
}

/// Beside realtime traffic what fills the way without a queue, by the best rate of late: less would only idle.
std::uint64_t budget::least() const noexcept {
  if (!crowded_) return least_quiet;
  const auto bytes = static_cast<std::uint64_t>(std::chrono::duration<double>(empty_lag_).count() * best_rate());
  return std::clamp(bytes - bytes % grain, least_crowded, first_crowded);
}

void budget::measure(std::uint64_t bytes, time_point now) noexcept {
  measured_bytes_ += bytes;
  const auto passed = now - measured_from_;
  if (passed < rate_interval) return;
  if (now - turned_ > rates_last) {
    fastest_[1] = std::exchange(fastest_[0], 0.0);
    turned_ = now;
  }
  rate_ = static_cast<double>(measured_bytes_) / std::chrono::duration<double>(passed).count();
  fastest_[0] = std::max(fastest_[0], rate_);
  measured_bytes_ = 0;
  measured_from_ = now;
}

void budget::end_round() noexcept {
  if (limited_ && probe_is_due()) return probe();
  auto factor = 1.0;
  if (empty_lag_ == duration::zero()) {
    // Nothing held it back yet, and nothing is known.
  } else if (!crowded_) {
    factor = while_quiet();
  } else if (empty_latency_ == duration::zero() || now_ - realtime_.at > latency_lasts) {
    factor = by_own_lag();
  } else if (std::exchange(unheeded_, false)) {
    factor = by_realtime();
  }
  // The least is too much: the way must have become another one. While nobody waits it is no more than a slow one.
  if (crowded_ && factor < 1.0 && limit_ <= least() && now_ - probed_at_ > probe_again) return probe();
  const bool grows = factor > 1.0 && limited_; // what was not held back says nothing of a larger one
  if (factor > 1.0 && !limited_) factor = 1.0;
  set_limit(static_cast<std::uint64_t>(static_cast<double>(limit_) * factor) + (grows ? grain : 0));
}

double budget::while_quiet() const noexcept {
  const auto queue = std::clamp(quiet_queue * empty_lag_, least_quiet_queue, std::max(most_quiet_queue, empty_lag_));
  return std::clamp(share_of(empty_lag_ + queue, round_lag_), most_shrinking, most_growth);
}

double budget::by_own_lag() const noexcept {
  const auto queue = std::clamp(empty_lag_ / 4, least_crowded_queue, most_crowded_queue);
  return std::clamp(share_of(empty_lag_ + queue, round_lag_), most_shrinking, careful_growth);
}

double budget::by_realtime() noexcept {
  const auto aim = std::max(empty_latency_ / 3, least_rise);
  const auto over = smooth_ - empty_latency_ - aim;
  if (over <= duration::zero()) return 1.0 + (careful_growth - 1.0) * std::min(1.0, share_of(-over, aim));
  // What has no queue of its own makes nobody wait.
  if (round_lag_ <= empty_lag_ + aim / 2) return 1.0;
  // Nor is latency bought with the rate: where less under way costs much of it, somebody else is to blame, as the
  // host's own processors may be. Only when things stay bad the way must have become a slower one.
  if (rate_ < kept_rate * best_rate()) {
    if (smooth_ > 2 * empty_latency_ - aim) fastest_ = {forgetting * fastest_[0], forgetting * fastest_[1]};
    return 1.0;
  }
  return std::max(most_shrinking, 1.0 - share_of(over, round_lag_));
}

void budget::expire(time_point now) noexcept {
  if (now < next_due()) return;
  expired_at_ = now;
  for (auto* each : flights_) {
    if (each->too_slow_at(patience, longest_patience) <= now) write_off(*each);
  }
}

} // namespace weft::lanes
