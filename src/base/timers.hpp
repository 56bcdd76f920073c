// Due times: a binary heap whose entries know their place, so that moving and removing one costs O(log n) and allocates
// nothing.
#pragma once

#include "base/clock.hpp"

#include <cstddef>
#include <utility>
#include <vector>

namespace weft {

/// Something with at most one due time. Must be removed from its heap before it dies.
class timed {
public:
  /// max(): it is in no heap.
  [[nodiscard]] time_point due() const noexcept { return due_; }

private:
  friend class timer_heap;
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

  time_point due_ = time_point::max();
  std::size_t place_ = nowhere;
};

class timer_heap {
public:
  [[nodiscard]] time_point next() const noexcept { return heap_.empty() ? time_point::max() : heap_.front()->due_; }
  [[nodiscard]] timed* first() const noexcept { return heap_.empty() ? nullptr : heap_.front(); }

  /// Sets when `entry` is due; time_point::max() means never.
  void set(timed& entry, time_point due) {
    if (due == time_point::max()) return remove(entry);
    entry.due_ = due;
    if (entry.place_ == timed::nowhere) {
      entry.place_ = heap_.size();
      heap_.push_back(&entry);
    }
    sift_up(entry.place_);
    sift_down(entry.place_);
  }

  void remove(timed& entry) noexcept {
    entry.due_ = time_point::max();
    if (entry.place_ == timed::nowhere) return;
    const auto hole = std::exchange(entry.place_, timed::nowhere);
    auto* last = heap_.back();
    heap_.pop_back();
    if (last == &entry) return;
    heap_[hole] = last;
    last->place_ = hole;
    sift_up(hole);
    sift_down(last->place_);
  }

private:
  void swap_at(std::size_t a, std::size_t b) noexcept {
    std::swap(heap_[a], heap_[b]);
    heap_[a]->place_ = a;
    heap_[b]->place_ = b;
  }

  void sift_up(std::size_t at) noexcept {
    while (at > 0 && heap_[at]->due_ < heap_[(at - 1) / 2]->due_) {
      swap_at(at, (at - 1) / 2);
      at = (at - 1) / 2;
    }
  }

  void sift_down(std::size_t at) noexcept {
    for (;;) {
      auto least = at;
      for (const auto child : {2 * at + 1, 2 * at + 2}) {
        if (child < heap_.size() && heap_[child]->due_ < heap_[least]->due_) least = child;
      }
      if (least == at) return;
      swap_at(at, least);
      at = least;
    }
  }

  std::vector<timed*> heap_;
};

} // namespace weft
