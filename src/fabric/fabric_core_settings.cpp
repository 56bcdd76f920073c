// Settings of an open fabric: what its lanes may have, held against what its rails carry.
#include "fabric/fabric_core.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

/// Whether it says, or is held against, what a rail carries.
bool is_of_rates(std::string_view setting) {
  return setting == "rail.rate" || setting.ends_with(".limit") || setting.ends_with(".reservation");
}

} // namespace

result<void> fabric_core::set(const std::vector<std::pair<std::string, std::string>>& values) {
  {
    const std::lock_guard lock(settings_mutex_);
    auto wanted = live_;
    for (const auto& [name, text] : values) {
      if (const auto done = set_tunable(wanted, name, text); !done) return done;
      const auto& rows = tunable_rows();
      const auto row = std::ranges::find(rows, name, &tunable_row::name);
      if (!row->hot) return error(errc::invalid_config, fmt::format("{}: fixed once the fabric is open", name));
    }
    if (const auto fits = validate(wanted); !fits) return fits;
    const bool rates = std::ranges::any_of(values, [](const auto& each) { return is_of_rates(each.first); });
    for (const auto* each : rates ? rails_.known() : std::vector<const rail*>()) {
      if (const auto fits = validate_on(wanted, each->name, carried(wanted, each->says)); !fits) return fits;
    }
    live_ = wanted;
    log_.set_threshold(wanted.log_level);
    host_.board().weigh(wanted.lane_bulk_weight);
    limit_realtime();
    const auto tell = [&wanted](worker& thread) {
      thread.post([&thread, wanted] {
        thread.begin();
        thread.set(wanted);
        thread.end();
      });
    };
    tell(realtime_);
    for (const auto& each : data_) tell(*each);
  }
  for (const auto& [name, text] : values) log_.info("{} is {} now", name, text);
  return {};
}

/// With settings_mutex_ held. Operations are not of one rail: what they may have is that of all together.
void fabric_core::limit_realtime() {
  std::uint64_t all = 0;
  for (const auto* each : rails_.known()) all += carried(live_, each->says).value();
  const auto limit = live_.lane_realtime_limit.on(bytes_per_second(all));
  if (realtime_limit_.exchange(limit) != limit) realtime_bucket_.forgive();
}

void fabric_core::rail_found(const rail& found) {
  result<void> fits;
  bytes_per_second carries;
  {
    const std::lock_guard lock(settings_mutex_);
    limit_realtime();
    carries = carried(live_, found.says);
    fits = validate_on(live_, found.name, carries);
  }
  // Not with the lock: a sink may ask the fabric.
  log_.debug("rail {}: {}", found.name,
             carries.value() == 0 ? "it does not say what it carries" : format_rate(carries));
  if (!fits) log_.warning("{}", fits.error().where());
}

lane fabric_core::lane_for(lane asked, std::uint64_t bytes) noexcept {
  if (asked != lane::realtime) return asked;
  const auto limit = realtime_limit_.load(std::memory_order_relaxed);
  if (limit == 0 || realtime_bucket_.take(bytes, limit, clock::now())) return asked;
  ++demoted_;
  return lane::standard;
}

result<std::string> fabric_core::get(std::string_view name) const {
  const std::lock_guard lock(settings_mutex_);
  return format_tunable(live_, name);
}

} // namespace weft::fabrics
