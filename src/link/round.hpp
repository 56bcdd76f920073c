// The transfers of one lane that have slices to send, in turn. Linked through the operations themselves: a slice costs
// no allocation, and leaving from the middle none and no search.
#pragma once

#include "link/operation.hpp"

namespace weft::links {

class round {
public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] operation& front() const noexcept { return *first_; }

  /// Both do nothing to one that is in already.
  void push_back(operation& added) noexcept { insert(added, last_, nullptr); }
  void push_front(operation& added) noexcept { insert(added, nullptr, first_); }

  /// Does nothing to one that is not in.
  void remove(operation& leaving) noexcept {
    auto& place = leaving.out->place;
    if (!place.taken) return;
    (place.before != nullptr ? place.before->out->place.behind : first_) = place.behind;
    (place.behind != nullptr ? place.behind->out->place.before : last_) = place.before;
    place = {};
  }

private:
  void insert(operation& added, operation* before, operation* behind) noexcept {
    auto& place = added.out->place;
    if (place.taken) return;
    place = {before, behind, true};
    (before != nullptr ? before->out->place.behind : first_) = &added;
    (behind != nullptr ? behind->out->place.before : last_) = &added;
  }

  operation* first_ = nullptr;
  operation* last_ = nullptr;
};

} // namespace weft::links
