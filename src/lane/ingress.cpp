#include "lane/ingress.hpp"

#include "lane/budget.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace weft::lanes {
namespace {

/// Arrivals that make a rate: a few percent of it matter.
constexpr std::uint32_t fewest_arrivals = 512;
/// What stays for so many intervals is a rate; beside others on the host for so long, as what they said last may be
/// from before they were allowed less.
constexpr std::uint32_t fewest_looks = 3;
constexpr duration window_of_many = 3 * rate_meter::longest_interval;
/// What it begins with, and what it goes back to at most: what arrives in so long.
constexpr duration first_queue = std::chrono::milliseconds(5);
constexpr duration longest_queue = std::chrono::microseconds(500);
/// Less under way as long as the rate is at least this part of the best, else more.
constexpr double kept = 0.98;
/// Below this one a limit is not worth it.
constexpr double much_lost = 0.5;
constexpr duration pause = std::chrono::seconds(30);
constexpr double largest_step = 0.75;
constexpr double smallest_step = 0.99;
constexpr double forgetting = 0.97;
/// What was enough lately is all that is given, and a little: the sources may have less to send than before.
constexpr double beyond_enough = 1.5;
constexpr duration enough_lasts = std::chrono::milliseconds(500);
constexpr double unknown = std::numeric_limits<double>::max();
/// Less may have become too little without a loss, as when the link became a faster one, or never was known to be too
/// little, when the rate at first was what others left: that is tried, soon and then ever less often.
constexpr duration first_probe = std::chrono::milliseconds(320);
constexpr duration probe_every = std::chrono::seconds(5);
constexpr std::uint32_t probe_lasts = 2; ///< intervals: what is more in one of them only is no more
constexpr double probe_more = 1.5;
constexpr double worth_more = 1.1;
/// One source alone keeps its own way short; several are those that were for so many intervals.
constexpr std::uint32_t surely_several = 5;
/// What was found is good for so long after it was used last.
constexpr duration remembers = std::chrono::seconds(10);

double seconds(duration of) noexcept {
  return std::chrono::duration<double>(of).count();
}

} // namespace

void ingress::arrived(source& from, std::uint64_t bytes, bool held, time_point now) noexcept {
  paused_ |= now - std::exchange(came_at_, now) >= rate_meter::interval;
  bytes_ += bytes;
  if (held) held_ += bytes;
  if (from.interval_ != interval_) {
    from.interval_ = interval_;
    ++active_;
  }
  if (rate_.add(bytes, now, fewest_arrivals)) end_interval(now);
}

void ingress::end_interval(time_point now) noexcept {
  ++interval_;
  const bool held = 2 * std::exchange(held_, 0) >= std::exchange(bytes_, 0);
  // A pause of the senders says nothing of the link, and would look like a great loss; but one after the other is what
  // the way makes of too little under way.
  const bool paused = std::exchange(paused_, false);
  const bool says_nothing = !std::exchange(was_paused_, paused) && paused;
  const auto rate = says_nothing ? told_.rate : static_cast<std::uint64_t>(rate_.lately());
  const host_board::arrivals own{rate, std::exchange(active_, 0)};
  board_.arriving(own, std::exchange(told_, own), now);
  const auto all = board_.all_arriving(now);
  all_ = all.sum;
  several_ = all_.sources > 1 ? std::min(several_ + 1, surely_several) : std::max(several_, 1U) - 1;
  are_several_ = several_ == surely_several || (are_several_ && several_ > 0);
  if (!budget::crowded(board_.last_seen(now), now) || !are_several_) {
    allowed_ = 0;
  } else if (all.first == board_.own()) {
    if (!says_nothing) control(held, now);
    board_.allow(allowed_);
  } else {
    allowed_ = all.allowed;
  }
}

void ingress::control(bool held, time_point now) noexcept {
  const auto rate = static_cast<double>(all_.rate);
  const bool stale = now - tried_at_ > remembers;
  tried_at_ = now;
  if (stale) begin(now);
  if (now < paused_until_) {
    allowed_ = 0;
    return;
  }
  look_at(rate, now);
  if (!known_) {
    allowed_ = 0;
    if (best_.get() == 0) return;
    known_ = true;
    limit_ = best_.get() * seconds(first_queue);
  } else if (probing_ == 0) {
    step(held, now);
  } else if (in_probe_ = std::min(in_probe_, rate); --probing_ == 0 && in_probe_ > worth_more * best_before_) {
    limit_ *= probe_more;
    best_.add(in_probe_, now);
    enough_.fill(unknown);
    probed_at_ = now - probe_every; // perhaps there is still more
  }
  if (probing_ == 0 && now - probed_at_ >= probe_after_) {
    probed_at_ = now;
    probe_after_ = std::min(2 * probe_after_, probe_every);
    probing_ = probe_lasts;
    best_before_ = best_.get();
    in_probe_ = unknown;
  }
  limit_ = std::max(limit_, static_cast<double>(all_.sources * budget::grain));
  allowed_ = static_cast<std::uint64_t>(probing_ > 0 ? probe_more * limit_ : limit_);
}

/// The best rate is one that lasted for a while.
void ingress::look_at(double rate, time_point now) noexcept {
  least_ = std::min(least_, rate);
  disturbed_ |= probing_ > 0;
  const bool many = all_.sources > told_.sources;
  if (++looks_ < fewest_looks || (many && now - looks_from_ < window_of_many)) return;
  if (!disturbed_) best_.add(least_, now);
  least_ = unknown;
  looks_from_ = now;
  looks_ = 0;
  disturbed_ = false;
}

void ingress::begin(time_point now) noexcept {
  best_ = {}; // realtime traffic takes a part now
  least_ = unknown;
  looks_from_ = now;
  looks_ = 0;
  known_ = disturbed_ = false;
  step_ = largest_step;
  enough_.fill(unknown);
  turned_ = probed_at_ = now;
  probe_after_ = first_probe;
  probing_ = lost_ = 0;
}

void ingress::step(bool held, time_point now) noexcept {
  if (now - turned_ > enough_lasts) {
    enough_[1] = std::exchange(enough_[0], unknown);
    turned_ = now;
  }
  const auto rate = static_cast<double>(all_.rate);
  if (!held || rate >= much_lost * best_.get()) lost_ = 0;
  const auto large = best_.get() * seconds(longest_queue);
  if (!held && limit_ > large) limit_ = std::max(limit_ * largest_step, large); // it holds nobody, whatever the rate
  if (rate >= kept * best_.get()) {
    enough_[0] = std::min(enough_[0], limit_);
    limit_ *= step_;
    step_ = std::max(step_ + smallest_step - 1.0, largest_step);
  } else if (held && rate < much_lost * best_.get() && ++lost_ >= fewest_looks) {
    known_ = false; // the way is a long one, or full of what is not bulk: what is under way here makes no queue
    paused_until_ = now + pause;
  } else if (held) {
    // What is lacking where the rate follows from what is under way; if it does not, that was chance, and costs little.
    const auto wanted = limit_ * best_.get() / rate;
    const auto known = std::min(enough_[0], enough_[1]);
    const auto largest = std::max(known < unknown ? beyond_enough * known : 0.0, large);
    // With all that is given it does not come back: it never was, or is no more.
    if (limit_ >= largest) best_.fade(forgetting);
    limit_ = std::min(wanted, largest);
    step_ = std::min(1.0 - (1.0 - step_) / 2, smallest_step);
  } else {
    best_.fade(forgetting); // they have less to send
  }
}

std::uint64_t ingress::allowance(time_point now) noexcept {
  if (!limits(now)) return 0;
  // With many that send a little now and then, few have something under way at a time. One that is silent, though
  // something is awaited, takes from nobody: it was not among those of the last interval.
  const auto elsewhere = all_.sources - std::min(all_.sources, told_.sources);
  const auto here = std::min(awaited_, std::max(active_, told_.sources));
  const auto share = owed_ + allowed_ / std::max<std::uint64_t>(elsewhere + here, 1);
  owed_ = share % budget::grain;
  return std::max(share - owed_, budget::grain);
}

} // namespace weft::lanes
