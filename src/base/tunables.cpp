// The work on the table of tunables: rows as text, setting by name, and the relations between values.
// Pure functions; the cached rows are built once and then only read.
#include "base/tunables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <utility>

namespace weft {
namespace {

enum class temperature { hot, cold };

// Each type of tunable has one pair of these: its text, and the value that a text stands for.
std::string to_text(byte_count value) {
  return to_string(value);
}
std::string to_text(bytes_per_second value) {
  return format_rate(value);
}
std::string to_text(rail_rate value) {
  return to_string(value);
}
std::string to_text(std::chrono::nanoseconds value) {
  return format_duration(value);
}
std::string to_text(std::int32_t value) {
  return std::to_string(value);
}
std::string to_text(std::uint32_t value) {
  return std::to_string(value);
}
std::string to_text(verify_mode value) {
  return std::string{name(value)};
}
std::string to_text(poll_mode value) {
  return std::string{name(value)};
}
std::string to_text(congestion_control value) {
  return std::string{name(value)};
}
std::string to_text(host_share value) {
  return std::string{name(value)};
}
std::string to_text(transport_choice value) {
  return std::string{name(value)};
}
std::string to_text(log_level value) {
  return std::string{name(value)};
}
std::string to_text(const cpu_list& value) {
  return to_string(value);
}
std::string to_text(const rail_list& value) {
  return to_string(value);
}

template <class Value>
result<void> take(const result<Value>& parsed, Value& value) {
  if (!parsed) return parsed.error();
  value = *parsed;
  return {};
}
result<void> from_text(std::string_view text, byte_count& value) {
  return take(parse_byte_count(text), value);
}
result<void> from_text(std::string_view text, bytes_per_second& value) {
  return take(parse_rate(text), value);
}
result<void> from_text(std::string_view text, rail_rate& value) {
  return take(parse_rail_rate(text), value);
}
result<void> from_text(std::string_view text, std::chrono::nanoseconds& value) {
  return take(parse_duration(text), value);
}
result<void> from_text(std::string_view text, cpu_list& value) {
  return take(parse_cpu_list(text), value);
}
result<void> from_text(std::string_view text, rail_list& value) {
  return take(parse_rail_list(text), value);
}

result<void> from_text(std::string_view text, std::int32_t& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc{} && end == text.data() + text.size()) return {};
  return error{errc::invalid_argument, fmt::format("\"{}\" is not a whole number within 2^31 of 0", text)};
}

result<void> from_text(std::string_view text, std::uint32_t& value) {
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc{} && end == text.data() + text.size()) return {};
  return error{errc::invalid_argument, fmt::format("\"{}\" is not a whole number below 2^32", text)};
}

template <class Choice>
result<void> choice_from_text(std::string_view text, std::optional<Choice> found, Choice& value) {
  if (!found) return error{errc::invalid_argument, fmt::format("\"{}\" is none of the choices", text)};
  value = *found;
  return {};
}
result<void> from_text(std::string_view text, verify_mode& value) {
  return choice_from_text(text, verify_mode_from_name(text), value);
}
result<void> from_text(std::string_view text, poll_mode& value) {
  return choice_from_text(text, poll_mode_from_name(text), value);
}
/// The choice of that name, up to the last one.
template <class Choice>
result<void> from_names(std::string_view text, Choice last, Choice& value) {
  std::optional<Choice> found;
  for (auto i = 0; i <= static_cast<int>(last); ++i) {
    if (const auto each = static_cast<Choice>(i); name(each) == text) found = each;
  }
  return choice_from_text(text, found, value);
}
result<void> from_text(std::string_view text, congestion_control& value) {
  return from_names(text, congestion_control::dctcp, value);
}
result<void> from_text(std::string_view text, host_share& value) {
  return from_names(text, host_share::group, value);
}
result<void> from_text(std::string_view text, transport_choice& value) {
  return from_names(text, transport_choice::verbs, value);
}
result<void> from_text(std::string_view text, log_level& value) {
  return choice_from_text(text, log_level_from_name(text), value);
}

template <class Value>
std::string range_text(Value least, Value most) {
  if constexpr (std::is_enum_v<Value>) {
    std::string text;
    for (auto i = static_cast<int>(least); i <= static_cast<int>(most); ++i) {
      if (!text.empty()) text += '|';
      text += name(static_cast<Value>(i));
    }
    return text;
  } else if constexpr (std::is_same_v<Value, cpu_list>) {
    return fmt::format("0..{}", cpu_list::most - 1);
  } else if constexpr (std::is_same_v<Value, rail_list>) {
    return "any|LIST";
  } else {
    return to_text(least) + ".." + to_text(most);
  }
}

template <class Value>
result<void> set_in_range(std::string_view name, std::string_view text, Value least, Value most, Value& member) {
  Value value{};
  if (const auto read = from_text(text, value); !read) {
    return error{errc::invalid_config,
                 fmt::format("{}: {} (allowed: {})", name, read.error().where(), range_text(least, most))};
  }
  if (value < least || value > most) {
    return error{errc::invalid_config,
                 fmt::format("{}: {} is out of range (allowed: {})", name, text, range_text(least, most))};
  }
  member = value;
  return {};
}

error unknown(std::string_view name) {
  return {errc::invalid_config, fmt::format("no setting named \"{}\"", name)};
}

// The relations that must hold between values, as pairs that fail together; nullptr where all hold.
struct relation {
  std::string_view left;
  std::string_view demand;
  std::string_view right;
};

constexpr relation relations[] = {
    {"slice.size", "must be a multiple of", "64KiB"},
    {"shard.chunk", "must be a multiple of", "64KiB"},
    {"slice.size", "must not exceed", "transfer.window"},
    {"redial.min", "must not exceed", "redial.max"},
    {"shard.chunk", "must not exceed", "shard.window"},
    {"shard.chunk", "must not exceed half of", "pool.bytes"},
    {"lane.standard.reservation", "must not exceed", "lane.standard.limit"},
    {"lane.bulk.reservation", "must not exceed", "lane.bulk.limit"},
    {"lane.background.reservation", "must not exceed", "lane.background.limit"},
    {"lane.realtime.limit", "must be 0 or at least", "1MB/s"},
    {"lane.standard.limit", "must be 0 or at least", "1MB/s"},
    {"lane.bulk.limit", "must be 0 or at least", "1MB/s"},
    {"lane.background.limit", "must be 0 or at least", "1MB/s"},
};

/// Below it a slice takes most of what a transfer may go without one.
constexpr rail_rate lowest_limit(bytes_per_second(1'000'000));

/// A server lends a peer half of a pool's blocks of 256 KiB at most.
constexpr bool half_of_pool_holds(byte_count chunk, byte_count pool) {
  constexpr auto block = (256_KiB).value();
  return (chunk.value() + block - 1) / block <= pool.value() / block / 2;
}

/// A limit of 0 is none. Of percent and bytes per second, which is more follows from what a rail carries.
constexpr bool fits(rail_rate reservation, rail_rate limit) {
  const bool same_unit = (reservation.hundredths() != 0) == (limit.hundredths() != 0);
  return limit.is_none() || !same_unit || reservation <= limit;
}

constexpr const relation* broken_relation(const tunables& values) {
  const bool holds[] = {
      values.slice_size % 64_KiB == 0_B,
      values.shard_chunk % 64_KiB == 0_B,
      values.slice_size <= values.transfer_window,
      values.redial_min <= values.redial_max,
      values.shard_chunk <= values.shard_window,
      half_of_pool_holds(values.shard_chunk, values.pool_bytes),
      fits(values.lane_standard_reservation, values.lane_standard_limit),
      fits(values.lane_bulk_reservation, values.lane_bulk_limit),
      fits(values.lane_background_reservation, values.lane_background_limit),
      fits(lowest_limit, values.lane_realtime_limit),
      fits(lowest_limit, values.lane_standard_limit),
      fits(lowest_limit, values.lane_bulk_limit),
      fits(lowest_limit, values.lane_background_limit),
  };
  static_assert(std::size(holds) == std::size(relations));
  for (std::size_t i = 0; i < std::size(holds); ++i) {
    if (!holds[i]) return &relations[i];
  }
  return nullptr;
}

static_assert(broken_relation(tunables{}) == nullptr, "the defaults must fit together");

#define WEFT_CHECK_DEFAULT(member, name, type, initial, least, most, unit, temperature, doc)                           \
  static_assert(type{least} <= type{initial} && type{initial} <= type{most}, name ": its default is out of its "       \
                                                                                  "range");
WEFT_TUNABLES(WEFT_CHECK_DEFAULT)
#undef WEFT_CHECK_DEFAULT

} // namespace

const std::vector<tunable_row>& tunable_rows() {
#define WEFT_ROW(member, name, type, initial, least, most, unit, heat, doc)                                            \
  {name, to_text(type{initial}), range_text(type{least}, type{most}), unit, temperature::heat == temperature::hot, doc},
  static const std::vector<tunable_row> rows = {WEFT_TUNABLES(WEFT_ROW)};
#undef WEFT_ROW
  return rows;
}

result<void> set_tunable(tunables& values, std::string_view name, std::string_view text) {
#define WEFT_SET(member, row, type, initial, least, most, unit, temperature, doc)                                      \
  if (name == row) return set_in_range<type>(name, text, type{least}, type{most}, values.member);
  WEFT_TUNABLES(WEFT_SET)
#undef WEFT_SET
  return unknown(name);
}

result<std::string> format_tunable(const tunables& values, std::string_view name) {
#define WEFT_FORMAT(member, row, type, initial, least, most, unit, temperature, doc)                                   \
  if (name == row) return to_text(values.member);
  WEFT_TUNABLES(WEFT_FORMAT)
#undef WEFT_FORMAT
  return unknown(name);
}

namespace {

struct named_rate {
  std::string_view name;
  rail_rate value;
};

constexpr std::size_t reservation_count = 3;

/// What may be in percent of a rail: the reservations, then the limits.
std::array<named_rate, reservation_count + 4> rates_of(const tunables& values) {
  return {{{"lane.standard.reservation", values.lane_standard_reservation},
           {"lane.bulk.reservation", values.lane_bulk_reservation},
           {"lane.background.reservation", values.lane_background_reservation},
           {"lane.realtime.limit", values.lane_realtime_limit},
           {"lane.standard.limit", values.lane_standard_limit},
           {"lane.bulk.limit", values.lane_bulk_limit},
           {"lane.background.limit", values.lane_background_limit}}};
}

} // namespace

result<void> validate_on(const tunables& values, std::string_view rail, bytes_per_second carries) {
  const auto rates = rates_of(values);
  if (carries.value() == 0) {
    const auto percent = std::ranges::find_if(rates, [](const auto& each) { return each.value.hundredths() != 0; });
    if (percent == rates.end()) return {};
    return error{errc::invalid_config,
                 fmt::format("{} ({}): what rail {} carries is not known: set rail.rate, or a rate in place of percent",
                             percent->name, to_string(percent->value), rail)};
  }
  const auto amount = [&](const named_rate& of) { return bytes_per_second(of.value.on(carries)); };
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const auto& each = rates[i];
    const bool is_limit = i >= reservation_count;
    if (is_limit && !each.value.is_none() && amount(each) < bytes_per_second(lowest_limit.on({}))) {
      return error{errc::invalid_config, fmt::format("{} ({}): {} on rail {}, which must be at least 1MB/s", each.name,
                                                     to_string(each.value), format_rate(amount(each)), rail)};
    }
    if (is_limit) continue;
    const auto& limit = rates[reservation_count + 1 + i]; // behind that of realtime, which reserves nothing
    if (limit.value.is_none() || amount(each) <= amount(limit)) continue;
    return error{errc::invalid_config, fmt::format("{} ({}) must not exceed {} ({}) on rail {}", each.name,
                                                   to_string(each.value), limit.name, to_string(limit.value), rail)};
  }
  std::uint64_t sum = 0;
  for (const auto& each : std::span(rates).first<reservation_count>()) sum += each.value.on(carries);
  if (sum <= carries.value()) return {};
  return error{errc::invalid_config, fmt::format("lane.*.reservation: together {}, and rail {} carries {}",
                                                 format_rate(bytes_per_second(sum)), rail, format_rate(carries))};
}

result<void> validate(const tunables& values) {
  std::uint32_t percent = 0;
  const auto rates = rates_of(values);
  for (const auto& each : std::span(rates).first<reservation_count>()) percent += each.value.hundredths();
  if (percent > rail_rate::whole) {
    return error{errc::invalid_config, fmt::format("lane.*.reservation: together {}% of a rail", percent / 100.0)};
  }
  if (values.rail_rate.value() != 0) {
    if (const auto fits = validate_on(values, "by rail.rate", values.rail_rate); !fits) return fits;
  }
  const relation* broken = broken_relation(values);
  if (broken == nullptr) return {};
  const auto with_value = [&](std::string_view name) {
    const auto value = format_tunable(values, name);
    return value ? fmt::format("{} ({})", name, *value) : std::string{name};
  };
  return error{errc::invalid_config,
               fmt::format("{} {} {}", with_value(broken->left), broken->demand, with_value(broken->right))};
}

} // namespace weft
