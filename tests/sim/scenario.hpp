// A seeded torture of links: several processes, concurrent operations of every kind, faults at random times, and the
// promises checked after every event. Equal seeds give equal histories. One thread.
#pragma once

#include "job.hpp"
#include "node.hpp"

#include <deque>
#include <set>
#include <string>

namespace weft::sim {

struct options {
  bool traces = false;
  bool skips_fence = false; ///< break the channels, to see that the checks notice
  /// Faults and operations of the plan that are left out, as "f3" and "j7".
  std::set<std::string, std::less<>> without = {};
};

/// What happened, for the summary.
struct tally {
  std::uint64_t events = 0;
  std::uint64_t operations = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t slices_verified = 0;
  std::uint64_t slices_resent = 0;
  std::uint64_t slices_refused = 0;
  std::uint64_t forced_fences = 0;
  std::uint64_t collateral = 0;
  std::uint64_t links = 0;
  coverage met;

  tally& operator+=(const tally& other) noexcept;
};

class scenario final : private service {
public:
  scenario(std::uint64_t seed, const options& how);

  /// Runs it to its end; the first broken promise in words, empty when all were kept.
  std::string run();
  [[nodiscard]] const tally& counted() const noexcept { return tally_; }
  /// What options::without may name.
  [[nodiscard]] std::vector<std::string> parts() const;

private:
  /// Two processes that have a link.
  struct pair {
    std::string dials;
    std::string accepts;
    bool one_sided;
  };

  // plan.cpp
  void plan_network();
  void plan_jobs();
  job planned_job(std::uint64_t id);
  void plan_faults();
  [[nodiscard]] bool is_left_out(char kind, std::uint64_t number) const;
  void cause_fault();
  void cut_something(const std::shared_ptr<endpoint>& at);
  void freeze(node& victim);
  void restart(node& victim);
  std::shared_ptr<endpoint> any_endpoint();
  node& any_node();
  duration up_to(duration most) { return duration(world_.random.below(static_cast<std::uint64_t>(most.count()) + 1)); }

  // scenario.cpp
  void start(job& which, const pair& over, bool from_dialling);
  void ended(job& which, links::outcome&& how);
  void check_end(const job& which);
  void check_resent(const job& which, const links::outcome& how, std::uint32_t losses);
  void abandon(const node& dying);
  void run_until(time_point end, const std::function<bool()>& enough);
  [[nodiscard]] bool all_completed() const;
  void heal();
  void close_links();
  void count();

  // service.cpp
  void arrived(endpoint& at, links::engine& in, const links::incoming& begun) override;
  void handle(job& which, endpoint& at, links::operation_id id);
  void respond(job& which, endpoint& at, links::operation_id id, errc code, duration wait);
  void data_ended(job& which, endpoint& at, links::operation_id id, links::outcome&& how);
  void later(endpoint& at, duration wait, std::function<void(endpoint&)> what);

  world world_;
  const options how_;
  std::deque<job> jobs_;
  std::uint64_t faults_ = 0; ///< that are planned
  std::vector<pair> pairs_;
  duration busy_time_{}; ///< in which operations begin and faults happen
  const time_point begun_;
  bool survivable_ = false; ///< no fault of this seed excuses a failed operation
  tally tally_;
};

} // namespace weft::sim
