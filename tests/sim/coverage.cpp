#include "coverage.hpp"

#include <algorithm>
#include <functional>
#include <initializer_list>
#include <string_view>

#include <fmt/format.h>

namespace weft::sim {
namespace {

template <class What>
using names = std::array<std::string_view, static_cast<std::size_t>(What::count)>;

constexpr names<fault> fault_names = {"freezes",       "freezes for ever", "restarts",       "closes a link",
                                      "refuses dials", "cuts a dial",      "cuts a session", "cuts a channel",
                                      "notices late",  "stops reading",    "breaks one end", "flips payload",
                                      "flips a body",  "flips a header"};
constexpr names<promise> promise_names = {"one completion",
                                          "completed in time",
                                          "right bytes",
                                          "verified first",
                                          "refusal stands",
                                          "no failure without reason",
                                          "one call of the handler",
                                          "same terms",
                                          "memory untouched after the end",
                                          "few sent again",
                                          "every operation ends",
                                          "engines forget",
                                          "links end",
                                          "memory given back"};
constexpr names<event> event_names = {"grant",        "response", "progress",       "cancel", "repeated",
                                      "fence",        "marker",   "slice",          "sent",   "channel up",
                                      "channel down", "due",      "cancelled here", "served", "answered"};
constexpr std::array<std::string_view, states> state_names = {"queued",   "asked",    "moving",
                                                              "settling", "stopping", "over"};

/// States in which an event cannot happen: a bit for each.
constexpr std::uint8_t in(std::initializer_list<links::phase> these) {
  std::uint8_t bits = 0;
  for (const auto each : these) bits = static_cast<std::uint8_t>(bits | 1U << state_of(each));
  return bits;
}

constexpr std::uint8_t over = 1U << is_over;

constexpr std::array<std::uint8_t, event_names.size()> impossible = [] {
  using enum links::phase;
  std::array<std::uint8_t, event_names.size()> of{};
  const auto put = [&of](event what, unsigned where) {
    of[static_cast<std::size_t>(what)] = static_cast<std::uint8_t>(where);
  };
  // The peer has not heard of what is queued. Memory is given and granted once, and what stops before that is over.
  put(event::grant, in({queued, moving, settling, stopping}));
  put(event::served, in({queued, moving, settling, stopping}));
  put(event::response, in({queued}));
  put(event::progress, in({queued, asked}));
  put(event::cancel, in({queued}));
  put(event::repeated, in({queued}));
  put(event::marker, in({queued}));
  // A receiver settles when all is there, and nobody sends again what it has told of.
  put(event::slice, in({queued, asked, settling}));
  put(event::answered, in({queued}));
  // Nothing is over before its channels have let go of it; and these happen to what is not over alone.
  put(event::sent, in({queued, asked}) | over);
  for (const auto each : {event::fence, event::channel_up, event::channel_down, event::due}) put(each, over);
  return of;
}();

} // namespace

coverage& coverage::operator+=(const coverage& other) noexcept {
  const auto add = [](auto& to, const auto& from) {
    std::transform(to.begin(), to.end(), from.begin(), to.begin(), std::plus<>());
  };
  add(faults_, other.faults_);
  add(promises_, other.promises_);
  for (std::size_t i = 0; i < states; ++i) add(pairs_[i], other.pairs_[i]);
  return *this;
}

std::string coverage::text() const {
  std::string told = "faults:";
  for (std::size_t i = 0; i < faults_.size(); ++i) told += fmt::format(" {} {},", fault_names[i], faults_[i]);
  told.back() = '\n';
  told += "promises:";
  for (std::size_t i = 0; i < promises_.size(); ++i) told += fmt::format(" {} {},", promise_names[i], promises_[i]);
  told.back() = '\n';
  told += fmt::format("{:16}", "event in state");
  for (const auto each : state_names) told += fmt::format("{:>10}", each);
  for (std::size_t i = 0; i < event_names.size(); ++i) {
    told += fmt::format("\n{:16}", event_names[i]);
    for (const auto& of : pairs_) told += fmt::format("{:>10}", of[i]);
  }
  return told;
}

std::string coverage::lacking(std::uint64_t least) const {
  std::string told;
  const auto look = [&](const auto& counts, const auto& called) {
    for (std::size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] < least) told += fmt::format("{}: {}; ", called[i], counts[i]);
    }
  };
  look(faults_, fault_names);
  look(promises_, promise_names);
  for (std::size_t state = 0; state < states; ++state) {
    for (std::size_t i = 0; i < event_names.size(); ++i) {
      const auto count = pairs_[state][i];
      const bool cannot = (impossible[i] >> state & 1U) != 0;
      if (cannot ? count == 0 : count >= least) continue;
      told += fmt::format("{} in state {}: {}{}; ", event_names[i], state_names[state], count,
                          cannot ? ", which cannot be" : "");
    }
  }
  return told;
}

} // namespace weft::sim
