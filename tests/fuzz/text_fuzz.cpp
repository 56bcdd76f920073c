// What people write: quantities, lists, addresses, settings. Whatever is accepted is written back to the same value.
#include "choices.hpp"

#include "base/cpu_list.hpp"
#include "base/tunables.hpp"
#include "path/tcp/connect.hpp"

namespace weft::fuzz {

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  const auto what = in.below(6);
  const auto setting = in.number<std::uint8_t>();
  const auto bytes = in.rest();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (what == 0) {
    if (const auto value = parse_byte_count(text)) {
      require(parse_byte_count(to_string(*value)).value() == *value, "a byte count comes back");
    }
  } else if (what == 1) {
    if (const auto value = parse_duration(text)) {
      require(parse_duration(format_duration(*value)).value() == *value, "a duration comes back");
    }
  } else if (what == 2) {
    if (const auto value = parse_cpu_list(text)) {
      require(parse_cpu_list(to_string(*value)).value() == *value, "a list of processors comes back");
    }
  } else if (what == 3) {
    if (const auto value = path::tcp::parse_address(text)) {
      require(!value->host.empty() && !value->port.empty() && value->port.size() <= text.size(),
              "an address has parts");
    }
  } else if (what == 4) {
    const auto& rows = tunable_rows();
    const auto& row = rows[setting % rows.size()];
    tunables values;
    if (!set_tunable(values, row.name, text)) return 0;
    const auto written = format_tunable(values, row.name).value();
    tunables again;
    require(set_tunable(again, row.name, written).has_value(), "a setting can be written back");
    require(format_tunable(again, row.name).value() == written, "a setting comes back");
  } else {
    tunables values;
    require(!set_tunable(values, text, "1") || format_tunable(values, text).has_value(), "a known setting has a value");
    std::ignore = config{}.set(text, "1");
  }
  return 0;
}

} // namespace weft::fuzz
