// Reading them.
#include "fabric-bench/lane_plan.hpp"

#include "common/command_line.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace weft::tools {
namespace {

constexpr std::uint64_t default_request = 4 << 10;
constexpr std::uint64_t default_transfer = 4 << 20;
constexpr std::uint32_t default_streams = 8;
constexpr std::uint32_t most_streams = 4096;

error wrong(std::string_view plan, std::string_view what) {
  return {errc::invalid_argument, fmt::format("--lane {}: {}", plan, what)};
}

result<void> read_key(std::string_view whole, std::string_view key, std::string_view value, lane_plan& plan) {
  const auto option = fmt::format("--lane {}: {}", whole, key);
  if (key == "size") {
    const auto size = read_bytes(option, value);
    if (!size) return size.error();
    plan.size = *size;
  } else if (key == "rate") {
    const auto rate = read_rate(option, value);
    if (!rate) return rate.error();
    plan.rate = *rate;
    if (plan.rate == 0) return wrong(whole, "a rate of 0 sends nothing; leave the lane out, or give it streams");
  } else if (key == "streams") {
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), plan.streams);
    const bool number = failure == std::errc{} && end == value.data() + value.size();
    if (!number || plan.streams == 0 || plan.streams > most_streams) {
      return wrong(whole, fmt::format("streams needs a number from 1 to {}", most_streams));
    }
  } else if (key == "op") {
    if (value != "write" && value != "read") return wrong(whole, "op is write or read");
    plan.write = value == "write";
  } else if (key == "weight" || key == "min" || key == "limit") {
    plan.settings.emplace_back(fmt::format("lane.{}.{}", name(plan.lane), key == "min" ? "reservation" : key), value);
  } else {
    return wrong(whole, fmt::format("\"{}\" is none of size, rate, streams, op, weight, min, limit", key));
  }
  return {};
}

} // namespace

result<double> read_rate(std::string_view option, std::string_view text) {
  const auto whole = text;
  if (text.ends_with("/s")) text.remove_suffix(2);
  double scale = 1;
  if (text.ends_with('k') || text.ends_with('M')) {
    scale = text.back() == 'k' ? 1e3 : 1e6;
    text.remove_suffix(1);
  }
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure == std::errc{} && end == text.data() + text.size() && std::isfinite(number) && number >= 0) {
    return number * scale;
  }
  return error{errc::invalid_argument, fmt::format("{} {}: it needs a number per second, as 2000/s", option, whole)};
}

result<lane_plan> parse_lane_plan(std::string_view text) {
  const auto colon = text.find(':');
  const auto named = lane_from_name(text.substr(0, colon));
  if (!named) {
    return wrong(text, "it begins with one of realtime, standard, bulk, background, as bulk:size=4M,streams=8");
  }
  lane_plan plan{.lane = *named};
  for (auto rest = colon == text.npos ? std::string_view{} : text.substr(colon + 1); !rest.empty();) {
    const auto comma = rest.find(',');
    const auto part = rest.substr(0, comma);
    const auto equals = part.find('=');
    if (equals == part.npos) return wrong(text, fmt::format("\"{}\" needs the form KEY=VALUE", part));
    const auto read = read_key(text, part.substr(0, equals), part.substr(equals + 1), plan);
    if (!read) return read.error();
    rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
  }
  if (plan.paced() && plan.streams > 0) return wrong(text, "rate is for requests and streams for transfers: give one");
  if (plan.lane == lane::realtime && !plan.paced()) {
    return wrong(text,
                 "realtime needs a rate, as realtime:rate=2000/s: what is as much as goes has no latency to keep");
  }
  if (!plan.paced() && plan.streams == 0) plan.streams = default_streams;
  if (plan.size == 0) plan.size = plan.paced() ? default_request : default_transfer;
  return plan;
}

} // namespace weft::tools
