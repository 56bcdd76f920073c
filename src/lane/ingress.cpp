#include "lane/ingress.hpp"

#include "lane/budget.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace weft::lanes {
namespace {

/// Arrivals that make a rate: a few percent of it matter.
constexpr std::uint32_t fewest_arrivals = 512;
/// Intervals after which the rate of sources that send what they like is known.
constexpr std::uint32_t settles = 3;
/// What it begins with, and does not go beyond: what arrives in so long.
constexpr duration longest_queue = std::chrono::microseconds(500);
/// Less under way as long as the rate is at least this part of the best, else more, and much more below that one.
constexpr double kept = 0.98;
constexpr double lost = 0.96;
constexpr double largest_step = 0.85;
constexpr double smallest_step = 0.99;
constexpr double step_back = 1.15;
constexpr double small_step_back = 1.03;
constexpr double forgetting = 0.99;
/// What was enough lately is all that is given, and a little: the sources may have less to send than before.
constexpr double beyond_enough = 1.5;
constexpr duration enough_lasts = std::chrono::milliseconds(500);
constexpr double unknown = std::numeric_limits<double>::max();
/// Less may have become too little without a loss, as when the link became a faster one: that is tried so often.
constexpr duration probe_every = std::chrono::seconds(5);
constexpr std::uint32_t probe_lasts = 2; ///< intervals: what is more in one of them only is no more
constexpr double worth_more = 1.05;
/// What was found is good for so long after it was used last.
constexpr duration remembers = std::chrono::seconds(10);

} // namespace

void ingress::arrived(source& from, std::uint64_t bytes, time_point now) noexcept {
  if (from.interval_ != interval_) {
    from.interval_ = interval_;
    ++active_;
  }
  if (rate_.add(bytes, now, fewest_arrivals)) end_interval(now);
}

void ingress::end_interval(time_point now) noexcept {
  ++interval_;
  const host_board::arrivals own{static_cast<std::uint64_t>(rate_.lately()), std::exchange(active_, 0)};
  board_.arriving(own, std::exchange(told_, own), now);
  const auto all = board_.all_arriving(now);
  all_ = all.sum;
  if (!budget::crowded(board_.last_seen(now), now)) {
    allowed_ = 0;
  } else if (all.first == board_.own()) {
    control(now);
    board_.allow(allowed_);
  } else {
    allowed_ = all.allowed;
  }
}

void ingress::control(time_point now) noexcept {
  const auto rate = static_cast<double>(all_.rate);
  const bool stale = now - tried_at_ > remembers;
  tried_at_ = now;
  if (stale) begin(now);
  // What others said may be from before this one joined them: a high sum counts once it stays.
  best_.add(std::min({before_[0], before_[1], rate}), now);
  before_ = {rate, before_[0]};
  if (known_ < settles) {
    allowed_ = 0;
    if (++known_ < settles) return;
    limit_ = most();
  } else if (probing_ == 0) {
    step(now);
  } else if (in_probe_ = std::min(in_probe_, rate); --probing_ == 0 && in_probe_ > worth_more * best_before_) {
    limit_ *= 2;
    enough_.fill(unknown);
    probed_at_ = now - probe_every; // perhaps there is still more
  }
  if (probing_ == 0 && now - probed_at_ >= probe_every) {
    probed_at_ = now;
    probing_ = probe_lasts;
    best_before_ = best_.get();
    in_probe_ = unknown;
  }
  limit_ = std::max(limit_, static_cast<double>(all_.sources * budget::grain));
  allowed_ = static_cast<std::uint64_t>(probing_ > 0 ? 2 * limit_ : limit_);
}

void ingress::begin(time_point now) noexcept {
  best_ = {}; // realtime traffic takes a part now
  before_ = {};
  known_ = 0;
  step_ = largest_step;
  enough_.fill(unknown);
  turned_ = probed_at_ = now;
  probing_ = 0;
}

double ingress::most() const noexcept {
  return best_.get() * std::chrono::duration<double>(longest_queue).count();
}

void ingress::step(time_point now) noexcept {
  if (now - turned_ > enough_lasts) {
    enough_[1] = std::exchange(enough_[0], unknown);
    turned_ = now;
  }
  const auto rate = static_cast<double>(all_.rate);
  if (rate >= kept * best_.get()) {
    enough_[0] = std::min(enough_[0], limit_);
    limit_ *= step_;
    step_ = std::max(step_ + smallest_step - 1.0, largest_step);
  } else {
    const auto wanted = limit_ * (rate < lost * best_.get() ? step_back : small_step_back);
    const auto largest = std::min(beyond_enough * std::min(enough_[0], enough_[1]), most());
    // With all that is given it does not come back: it never was, or is no more.
    if (limit_ >= largest) best_.fade(forgetting);
    limit_ = std::min(wanted, largest);
    step_ = smallest_step;
  }
}

std::uint64_t ingress::allowance() noexcept {
  if (allowed_ == 0) return 0;
  const auto share = owed_ + allowed_ / std::max<std::uint64_t>({active_, all_.sources, 1});
  owed_ = share % budget::grain;
  return std::max(share - owed_, budget::grain);
}

} // namespace weft::lanes
