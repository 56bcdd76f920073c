// The virtual clock of a simulated network and what is to happen on it. Events of one time run in the order in which
// they were added, so that equal seeds give equal histories. The scenario owns it; one thread.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace weft::path::sim {

class timeline {
public:
  [[nodiscard]] time_point now() const noexcept { return now_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return events_; }

  void at(time_point when, std::function<void()> what) {
    heap_.push_back({std::max(when, now_), next_order_++, std::move(what)});
    std::push_heap(heap_.begin(), heap_.end());
  }
  void after(duration pause, std::function<void()> what) { at(now_ + pause, std::move(what)); }

  /// Runs the next event; false when there is none.
  bool step() {
    if (heap_.empty()) return false;
    std::pop_heap(heap_.begin(), heap_.end());
    const auto next = std::move(heap_.back());
    heap_.pop_back();
    now_ = next.when;
    ++events_;
    next.what();
    return true;
  }

  /// Forgets what is to happen; what goes with it may add more, which is forgotten too.
  void drop() {
    while (!heap_.empty()) std::exchange(heap_, {});
  }

private:
  struct event {
    time_point when;
    std::uint64_t order;
    std::function<void()> what;

    bool operator<(const event& other) const noexcept {
      return std::pair(when, order) > std::pair(other.when, other.order); // the heap's top is its largest
    }
  };

  std::vector<event> heap_;
  time_point now_ = time_point{} + std::chrono::seconds(1);
  std::uint64_t next_order_ = 0;
  std::uint64_t events_ = 0;
};

} // namespace weft::path::sim
