#include "lane/ingress.hpp"

#include "lane/budget.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace weft::lanes {
namespace {

/// Arrivals that make a rate of an interval.
constexpr std::uint32_t fewest_arrivals = 64;
/// What it begins with, and does not go beyond: what arrives in so long.
constexpr duration longest_queue = std::chrono::microseconds(500);
/// Less under way as long as the rate is at least this part of the best, more where it is below that one.
constexpr double kept = 0.98;
constexpr double lost = 0.96;
constexpr double largest_step = 0.85;
constexpr double smallest_step = 0.99;
constexpr double step_back = 1.15;
/// What was enough lately is all that is given, and a little: the sources may have less to send than before.
constexpr double beyond_enough = 1.5;
constexpr duration enough_lasts = std::chrono::milliseconds(500);
constexpr double unknown = std::numeric_limits<double>::max();
/// Less may have become too little without a loss, as when the link became a faster one: that is tried so often.
constexpr duration probe_every = std::chrono::seconds(5);
constexpr double worth_more = 1.05;

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
  were_active_ = std::exchange(active_, 0);
  const bool crowded = budget::crowded(board_.last_seen(now), now);
  if (std::exchange(crowded_, crowded) != crowded) return begin(now);
  if (!crowded_) return;
  if (std::exchange(probing_, false)) {
    if (rate_.lately() < worth_more * best_before_) return;
    limit_ = 2 * limit_;
    enough_.fill(unknown);
  } else {
    step(now);
  }
  if (now - probed_at_ < probe_every) return;
  probed_at_ = now;
  probing_ = true;
  best_before_ = rate_.best();
}

void ingress::begin(time_point now) noexcept {
  limit_ = static_cast<std::uint64_t>(first());
  step_ = largest_step;
  enough_.fill(unknown);
  turned_ = probed_at_ = now;
  probing_ = false;
}

double ingress::first() const noexcept {
  return rate_.best() * std::chrono::duration<double>(longest_queue).count();
}

void ingress::step(time_point now) noexcept {
  if (now - turned_ > enough_lasts) {
    enough_[1] = std::exchange(enough_[0], unknown);
    turned_ = now;
  }
  auto wanted = static_cast<double>(limit_);
  if (rate_.lately() >= kept * rate_.best()) {
    enough_[0] = std::min(enough_[0], wanted);
    wanted *= step_;
    step_ = std::max(step_ + smallest_step - 1.0, largest_step);
  } else if (rate_.lately() < lost * rate_.best()) {
    wanted = std::min({wanted * step_back, beyond_enough * std::min(enough_[0], enough_[1]), first()});
    step_ = smallest_step;
  }
  limit_ = std::max(static_cast<std::uint64_t>(wanted), were_active_ * budget::grain);
}

std::uint64_t ingress::allowance() noexcept {
  if (!crowded_) return 0;
  const auto all = probing_ ? 2 * limit_ : limit_;
  const auto share = owed_ + all / std::max<std::uint64_t>({active_, were_active_, 1});
  owed_ = share % budget::grain;
  return std::max(share - owed_, budget::grain);
}

} // namespace weft::lanes
