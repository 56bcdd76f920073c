// Settings that change in the middle of a phase: what is asked for, and when it was in force.
#include "fabric-bench/mixed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace weft::tools {
namespace {

/// Bytes per second between two counts.
double rate_of(const std::pair<std::chrono::nanoseconds, std::uint64_t>& from,
               const std::pair<std::chrono::nanoseconds, std::uint64_t>& to) {
  const auto seconds = std::chrono::duration<double>(to.first - from.first).count();
  return seconds > 0 ? static_cast<double>(to.second - from.second) / seconds : 0;
}

} // namespace

result<mixed_change> parse_change(std::string_view text) {
  const auto colon = text.find(':');
  if (colon == text.npos) {
    return error{errc::invalid_argument, fmt::format("--at {}: it needs the form TIME:LANE.KEY=VALUE", text)};
  }
  const auto after = read_duration(fmt::format("--at {}", text), text.substr(0, colon));
  if (!after) return after.error();
  mixed_change change{.after = *after, .settings = {}};
  for (auto rest = text.substr(colon + 1); !rest.empty();) {
    const auto comma = rest.find(',');
    const auto part = rest.substr(0, comma);
    const auto equals = part.find('=');
    if (equals == part.npos) {
      return error{errc::invalid_argument, fmt::format("--at {}: \"{}\" needs the form LANE.KEY=VALUE", text, part)};
    }
    change.settings.emplace_back(fmt::format("lane.{}", part.substr(0, equals)), part.substr(equals + 1));
    rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
  }
  if (change.settings.empty()) return error{errc::invalid_argument, fmt::format("--at {}: nothing to change", text)};
  return change;
}

std::optional<std::chrono::nanoseconds>
settled_after(const std::vector<std::pair<std::chrono::nanoseconds, std::uint64_t>>& counted,
              std::chrono::nanoseconds change) {
  constexpr auto window = std::chrono::milliseconds{50};
  if (counted.empty()) return std::nullopt;
  const auto end = counted.back().first;
  const auto at = [&](std::chrono::nanoseconds time) {
    return std::lower_bound(counted.begin(), counted.end(), time,
                            [](const auto& one, auto to) { return one.first < to; });
  };
  const auto last = at(change + (end - change) / 2);
  if (last == counted.end()) return std::nullopt;
  const auto final_rate = rate_of(*last, counted.back());
  if (final_rate <= 0) return std::nullopt;
  for (auto from = at(change); from != counted.end(); ++from) {
    const auto to = at(from->first + window);
    if (to == counted.end()) break;
    if (std::abs(rate_of(*from, *to) - final_rate) <= 0.05 * final_rate) return from->first - change;
  }
  return std::nullopt;
}

} // namespace weft::tools
