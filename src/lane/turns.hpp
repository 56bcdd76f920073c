// Who is next among those that share something: first whoever has a deadline, the earliest before the others, but every
// so often one without, so that none of them starves; these take turns. Linked through the entries themselves: nothing
// is allocated once as many with a deadline were in as ever will be, and leaving from the middle needs no search.
#pragma once

#include "base/timers.hpp"

#include <boost/intrusive/list.hpp>

#include <cstdint>

namespace weft::lanes {

/// A base of whatever takes turns. Must be removed before it dies, or die with all that wait.
class turn : public timed {
  template <class Entry>
  friend class turns;
  boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> place_;
};

template <class Entry>
class turns {
public:
  /// Turns of those with a deadline for each of those without.
  static constexpr std::uint32_t dated_turns = 7;

  [[nodiscard]] bool empty() const noexcept { return undated_.empty() && dated_.first() == nullptr; }
  /// The one with the earliest deadline; null: none has one.
  [[nodiscard]] const Entry* earliest() const noexcept {
    return static_cast<const Entry*>(static_cast<const turn*>(dated_.first()));
  }
  /// The next one; there must be one. Stays so until a turn is over, or who waits changes.
  [[nodiscard]] Entry& front() noexcept {
    auto* first = dated_.first();
    const bool dated = first != nullptr && (undated_.empty() || dated_in_a_row_ < dated_turns);
    return static_cast<Entry&>(dated ? static_cast<turn&>(*first) : undated_.front());
  }

  /// Behind the others without a deadline, or in its place among those that have one: max() is none. One that waits
  /// keeps its turn; its deadline may change.
  void add(Entry& entry, time_point deadline) {
    turn& place = entry;
    if (deadline == time_point::max()) {
      dated_.remove(place);
      if (!place.place_.is_linked()) undated_.push_back(place);
    } else {
      if (place.place_.is_linked()) undated_.erase(undated_.iterator_to(place));
      dated_.set(place, deadline);
    }
  }

  /// Does nothing to one that does not wait.
  void remove(Entry& entry) noexcept {
    turn& place = entry;
    dated_.remove(place);
    if (place.place_.is_linked()) undated_.erase(undated_.iterator_to(place));
  }

  /// The first one has had its turn, and waits for another.
  void end_turn(Entry& entry) noexcept {
    turn& place = entry;
    if (place.place_.is_linked()) {
      dated_in_a_row_ = 0;
      undated_.splice(undated_.end(), undated_, undated_.iterator_to(place));
    } else if (!undated_.empty()) {
      ++dated_in_a_row_;
    }
  }

private:
  timer_heap dated_;
  boost::intrusive::list<turn, boost::intrusive::constant_time_size<false>,
                         boost::intrusive::member_hook<turn, decltype(turn::place_), &turn::place_>>
      undated_;
  std::uint32_t dated_in_a_row_ = 0; ///< turns, while some without a deadline waited
};

} // namespace weft::lanes
