// What the scenarios of a run have met: every fault, every event in every state of an operation, and every promise that
// was looked at. A long run must have met all of them often, or the simulator says less than it seems to.
#pragma once

#include "link/operation.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace weft::sim {

enum class fault : std::uint8_t {
  freezes,
  freezes_for_ever,
  restarts,
  closes_link,
  refuses_dials,
  cuts_dial,
  cuts_session,
  cuts_channel,
  notices_late,
  stops_reading,
  breaks_one_end,
  flips_payload,
  flips_body,
  flips_header,
  count
};

/// What happens to an operation at one end of its link.
enum class event : std::uint8_t {
  grant,
  response,
  progress,
  cancel,
  repeated, ///< one of these messages, which had come before
  fence,    ///< the peer has fenced a channel of its lane
  marker,
  slice,
  sent,
  channel_up, ///< one of its lane
  channel_down,
  due, ///< its time has come: it is stopped, or its channels are closed
  cancelled_here,
  served, ///< its handler gives it memory
  answered,
  count
};

enum class promise : std::uint8_t {
  one_completion,
  completed_in_time,
  right_bytes,
  verified_first,
  refusal_stands,
  no_failure_without_reason,
  one_call_of_the_handler,
  same_terms,
  memory_untouched_after_the_end,
  few_sent_again,
  every_operation_ends,
  engines_forget,
  links_end,
  memory_given_back,
  count
};

/// Of an operation as its engine says it; or it is over there, or was never heard of.
inline constexpr std::size_t states = 6;
inline constexpr std::size_t is_over = states - 1;

[[nodiscard]] constexpr std::size_t state_of(std::optional<links::phase> now) noexcept {
  return now ? static_cast<std::size_t>(*now) : is_over;
}

class coverage {
public:
  void met(fault what) noexcept { ++faults_[static_cast<std::size_t>(what)]; }
  void met(promise what) noexcept { ++promises_[static_cast<std::size_t>(what)]; }
  void met(event what, std::optional<links::phase> in) noexcept {
    ++pairs_[state_of(in)][static_cast<std::size_t>(what)];
  }
  void met(fault what, std::uint64_t times) noexcept { faults_[static_cast<std::size_t>(what)] += times; }
  coverage& operator+=(const coverage& other) noexcept;

  /// A table for people.
  [[nodiscard]] std::string text() const;
  /// What was met less often than that, and what cannot happen and did; empty when there is nothing of the kind.
  [[nodiscard]] std::string lacking(std::uint64_t least) const;

private:
  template <class What>
  using counts = std::array<std::uint64_t, static_cast<std::size_t>(What::count)>;

  counts<fault> faults_{};
  counts<promise> promises_{};
  std::array<counts<event>, states> pairs_{};
};

} // namespace weft::sim
