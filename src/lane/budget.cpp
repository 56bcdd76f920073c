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
constexpr duration least_rise = std::chrono::microseconds(3);
constexpr std::uint64_t small_quantum = 16 * 1024;
constexpr std::uint32_t round_marks = 8;
/// What makes a channel a far one: so many times the least lag of the others, and so much.
constexpr int far_lags = 4;
constexpr duration least_far = std::chrono::microseconds(100);
constexpr duration probe_every = std::chrono::seconds(5);
constexpr duration probe_again = std::chrono::seconds(1); ///< when the least is still too much
constexpr duration probe_lasts = std::chrono::milliseconds(10);
constexpr duration longest_probe = std::chrono::milliseconds(50); ///< as long as others keep the way empty
/// The first latency in a probe may be from before it.
constexpr std::uint32_t probe_latencies = 3;
/// How often the board is looked at, and how long somebody who sent bulk counts as one who does.
constexpr duration look_every = std::chrono::microseconds(20);
constexpr duration demand_lasts = std::chrono::milliseconds(100);
/// So much of the best rate is kept.
constexpr double kept_rate = 0.88;
constexpr double forgetting = 0.995;
constexpr double most_shrinking = 0.7;
constexpr double most_growth = 1.25;
constexpr double careful_growth = 1.1; ///< where a step too far is felt

double share_of(duration part, duration whole) noexcept {
  return static_cast<double>(part.count()) / static_cast<double>(std::max<duration::rep>(whole.count(), 1));
}

/// What a rate carries in that time, in whole grains.
std::uint64_t bytes_in(duration time, double rate) noexcept {
  const auto bytes = static_cast<std::uint64_t>(std::chrono::duration<double>(time).count() * rate);
  return bytes - bytes % budget::grain;
}

} // namespace

/// Of what waits for a link nothing is larger than this. Beside realtime traffic the queue that is aimed at is no
/// shorter than its lumps; what is small already is not made smaller, as each costs system calls.
std::uint64_t budget::quantum() const noexcept {
  const auto part = crowded_ ? std::max(limit_ / 8, std::min(limit_ / 4, small_quantum)) : limit_ / 4;
  return std::clamp(part - part % grain, grain, most_quantum);
}

void budget::remove(flight& of) noexcept {
  write_off(of);
  std::erase(flights_, &of);
}

bool budget::crowded(time_point last, time_point now) noexcept {
  return last != time_point{} && now - last < crowd_lasts;
}

void budget::advance(time_point now) noexcept {
  now_ = now;
  if (fixed_ > 0 || now - looked_at_ < look_every) return;
  looked_at_ = now;
  look_at_board();
}

void budget::look_at_board() noexcept {
  bool about = false;
  others_probe_ = false;
  std::uint32_t own_weight = 1;
  std::uint32_t weights = 0;
  for (std::size_t i = 0; i < board_.size(); ++i) {
    if (crowded(board_.last_seen(i, now_), now_)) {
      about = true;
      auto& of = heard_[i];
      const auto told = board_.latency_of(i, now_);
      if (told.count != of.told.count) {
        of.hear(told);
        // What was heard once the way was empty.
        if (probing_ && lag_count_ > 0) of.probe(told.typical);
      }
    }
    const auto weight = board_.weight_of(i);
    if (i == board_.own()) {
      own_weight = weight;
      weights += weight;
    } else if (now_ - board_.bulk_was_sent(i, now_) < demand_lasts) {
      weights += weight;
    }
    // Of the own entry: what another thread of this fabric has said.
    const auto until = board_.empty_until(i, now_);
    others_probe_ |= until > now_ && (i != board_.own() || until != announced_);
  }
  share_ = static_cast<double>(own_weight) / static_cast<double>(weights);
  if (about != crowded_) {
    crowded_ = about;
    near_to_ = nullptr; // other lags are usual now
    const auto limit = probing_ ? resumes_at_ : limit_;
    stop_probe();
    set_limit(std::exchange(other_limit_, limit));
  }
  // What they measure is good for this one too, and spoilt by it.
  if (others_probe_ && !probing_ && bytes_ > 0 && now_ - probed_at_ > probe_again) probe();
}

void budget::heard::hear(const host_board::latency& news) noexcept {
  const bool first = smooth == duration::zero() || news.at - told.at > latency_lasts;
  told = news;
  // One that is far off counts for no more than a bad one.
  const auto bounded = empty > duration::zero() ? std::min(news.typical, 2 * empty) : news.typical;
  smooth = first ? bounded : (smooth + bounded) / 2;
  unheeded = true;
}

void budget::heard::probe(duration typical) noexcept {
  if (probed == 1) empty = typical;
  if (probed > 1) empty = (empty * (probed - 1) + typical) / probed;
  ++probed;
}

bool budget::heard::lately(time_point now) const noexcept {
  return told.count > 0 && now - told.at <= latency_lasts;
}

bool budget::heard::guides(time_point now) const noexcept {
  return empty > duration::zero() && lately(now);
}

bool budget::probe_is_due() const noexcept {
  return now_ - probed_at_ > probe_every || (crowded_ && now_ - latency_at_ > probe_every);
}

/// Keeps the way empty for a moment.
void budget::probe() noexcept {
  probing_ = true;
  probed_at_ = now_;
  lag_count_ = 0;
  for (auto& each : heard_) each.probed = 0;
  resumes_at_ = std::exchange(limit_, least_crowded);
  if (!others_probe_) announce();
}

/// A mark of the probe has landed.
void budget::probed(duration lag) noexcept {
  if (lag_count_ == 0) probed_at_ = now_; // there may have been nothing to send since it began
  lags_[lag_count_++ % probe_marks] = lag;
  bool heard_enough = !crowded_ || now_ - probed_at_ > probe_lasts;
  if (!heard_enough) {
    const auto waits = [this](const heard& each) { return each.lately(now_) && each.probed <= probe_latencies; };
    const auto told = [this](const heard& each) { return each.lately(now_); };
    heard_enough = std::any_of(heard_.begin(), heard_.end(), told) && std::none_of(heard_.begin(), heard_.end(), waits);
  }
  if (lag_count_ < probe_marks || !heard_enough) {
    if (announced_ != time_point{}) announce();
    return;
  }
  take_back();
  if (!others_probe_ || now_ - probed_at_ > longest_probe) end_probe();
}

void budget::announce() noexcept {
  announced_ = now_ + probe_lasts;
  board_.keep_empty(announced_);
}

void budget::take_back() noexcept {
  if (announced_ != time_point{}) board_.no_longer_empty(std::exchange(announced_, time_point{}));
}

void budget::stop_probe() noexcept {
  probing_ = false;
  take_back();
}

void budget::end_probe() noexcept {
  stop_probe();
  std::nth_element(lags_.begin(), lags_.begin() + 1, lags_.end());
  empty_lag_ = lags_[1];
  if (crowded_) {
    latency_at_ = now_;
    for (auto& each : heard_) {
      if (each.probed < 2) each.empty = duration::zero();
      each.smooth = each.empty;
    }
  }
  set_limit(resumes_at_);
}

void budget::set_limit(std::uint64_t wanted) noexcept {
  limit_ = std::clamp(wanted - wanted % grain, least(), part_of(most));
  round_bytes_ = 0;
  round_marks_ = 0;
  round_lag_ = duration::max();
  limited_ = false;
}

void budget::released(flight& to, std::uint64_t bytes, bool marked, time_point now) noexcept {
  const auto counted = to.released(bytes, marked, now);
  if (!to.far()) bytes_ += counted;
  limited_ |= !open();
}

void budget::landed(flight& from, std::uint64_t marks, time_point now) noexcept {
  const auto told = from.landed(marks, now);
  if (!from.far()) bytes_ -= told.bytes;
  if (told.marks == 0 || fixed_ > 0) return;
  now_ = now;
  judge(from, told.lag);
  if (rate_.add(told.bytes, now)) best_.add(rate_.lately(), now);
  if (from.far()) return; // its lag tells of another place
  if (probing_) {
    // What was released before tells of the queue of then.
    if (now - told.lag <= probed_at_) return;
    probed(told.lag);
    return;
  }
  round_bytes_ += told.bytes;
  ++round_marks_;
  if (told.lag < round_lag_) {
    round_lag_ = told.lag;
    round_to_ = &from.to();
  }
  if (round_marks_ >= round_marks && round_bytes_ >= limit_) end_round();
}

std::uint64_t budget::part_of(std::uint64_t bytes) const noexcept {
  return std::max(static_cast<std::uint64_t>(static_cast<double>(bytes) * share_), least_crowded);
}

/// Beside realtime traffic what fills the way without a queue, by the best rate of late: less would only idle.
std::uint64_t budget::least_of_way() const noexcept {
  if (!crowded_) return part_of(least_quiet);
  return std::clamp(bytes_in(empty_lag_, fair_rate()), least_crowded, part_of(first_crowded));
}

/// There also what is promised, as long as it takes to land.
std::uint64_t budget::least() const noexcept {
  const auto promised = crowded_ ? bytes_in(std::min(near_lag_, patience), static_cast<double>(kept_)) : 0;
  return std::max(least_of_way(), std::min(promised, part_of(most)));
}

/// A channel to a place where even the quickest bytes take so much longer than elsewhere has its queue there: before a
/// slow receiver, or one that many send to. They would fill the budget, and leave the way idle for the others. Once it
/// is known as one it has to become much quicker: its lag follows from what it may have under way, which is more then.
void budget::judge(flight& of, duration lag) noexcept {
  lag = of.to().least_of_late(lag, now_);
  const auto usual = round_lag_ < duration::max() ? std::max(near_lag_, round_lag_) : near_lag_;
  const auto of_others = of.far() ? bytes_ : bytes_ - of.bytes();
  const bool compares = of_others > 0 && near_to_ != nullptr && near_to_ != &of.to();
  const auto much = far_lags * usual + least_far;
  const bool far = compares && lag > (of.far() ? much / 2 : much);
  if (far == of.far()) return;
  bytes_ = far ? bytes_ - of.bytes() : bytes_ + of.bytes();
  of.put_far(far);
}

void budget::end_round() noexcept {
  near_lag_ = round_lag_;
  near_to_ = round_to_;
  if (limited_ && probe_is_due()) return probe();
  auto factor = 1.0;
  if (empty_lag_ == duration::zero()) {
    // Nothing held it back yet, and nothing is known.
  } else if (!crowded_) {
    factor = while_quiet();
  } else {
    const bool guided =
        std::any_of(heard_.begin(), heard_.end(), [this](const heard& each) { return each.guides(now_); });
    const auto wanted = guided ? by_realtime() : by_own_lag();
    // The least is too much: the way must have become another one. While nobody waits it is no more than a slow one.
    if (wanted.factor < 1.0 && limit_ <= least_of_way() && now_ - probed_at_ > probe_again) return probe();
    factor = sparing_the_rate(wanted);
  }
  const bool grows = factor > 1.0 && limited_; // what was not held back says nothing of a larger one
  if (factor > 1.0 && !limited_) factor = 1.0;
  set_limit(static_cast<std::uint64_t>(static_cast<double>(limit_) * factor) + (grows ? grain : 0));
}

double budget::while_quiet() const noexcept {
  const auto queue = std::clamp(quiet_queue * empty_lag_, least_quiet_queue, std::max(most_quiet_queue, empty_lag_));
  return std::clamp(share_of(empty_lag_ + queue, round_lag_), most_shrinking, most_growth);
}

budget::change budget::by_own_lag() const noexcept {
  const auto queue = std::clamp(empty_lag_ / 4, least_crowded_queue, most_crowded_queue);
  const auto factor = std::clamp(share_of(empty_lag_ + queue, round_lag_), most_shrinking, careful_growth);
  return {factor, round_lag_ > 2 * (empty_lag_ + queue)};
}

/// No more than is good for each that was heard of lately.
budget::change budget::by_realtime() noexcept {
  change wanted{careful_growth, false};
  auto& factor = wanted.factor;
  bool news = false;
  for (auto& each : heard_) {
    if (!each.guides(now_)) continue;
    news |= std::exchange(each.unheeded, false);
    const auto aim = std::max(each.empty / 3, least_rise);
    const auto over = each.smooth - each.empty - aim;
    if (over <= duration::zero()) {
      factor = std::min(factor, 1.0 + (careful_growth - 1.0) * std::min(1.0, share_of(-over, aim)));
    } else if (round_lag_ <= empty_lag_ + aim / 2) {
      factor = std::min(factor, 1.0); // what has no queue of its own makes nobody wait
    } else {
      factor = std::min(factor, std::max(most_shrinking, 1.0 - share_of(over, round_lag_)));
      wanted.much_too_slow |= each.smooth > 2 * each.empty - aim;
    }
  }
  return news ? wanted : change{};
}

/// Latency is not bought with the rate: where less under way costs much of it, somebody else is to blame, as the host's
/// own processors may be. Only when things stay bad the way must have become a slower one.
double budget::sparing_the_rate(const change& wanted) noexcept {
  if (wanted.factor >= 1.0 || rate_.lately() >= kept_rate * fair_rate()) return wanted.factor;
  if (wanted.much_too_slow) best_.fade(forgetting);
  return 1.0;
}

void budget::expire(time_point now) noexcept {
  if (now < next_due()) return;
  expired_at_ = now;
  for (auto* each : flights_) {
    if (each->too_slow_at(patience, longest_patience) <= now) write_off(*each);
  }
}

} // namespace weft::lanes
