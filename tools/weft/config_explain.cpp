// `weft config explain`: every setting with its value and where that came from.
#include "weft/commands.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace weft::tools {

result<void> explain_config(command_context& context, const explain_arguments& arguments) {
  const auto& configuration = context.settings.configuration;
  auto settings = nlohmann::ordered_json::array();
  for (const auto& one : configuration.explain()) {
    if (!one.name.starts_with(arguments.prefix)) continue;
    settings.push_back({{"name", one.name},
                        {"value", one.value},
                        {"origin", one.origin},
                        {"default", one.default_value},
                        {"range", one.range},
                        {"unit", one.unit},
                        {"hot", one.hot},
                        {"doc", one.doc}});
    if (context.json) continue;
    fmt::print("{} = {}  ({})\n    {}\n", one.name, one.value.empty() ? "\"\"" : one.value, one.origin, one.doc);
    fmt::print("    default {}{}{}, {}\n", one.default_value.empty() ? "\"\"" : one.default_value,
               one.range.empty() ? "" : ", allowed ", one.range,
               one.hot ? "can change while running" : "fixed once the fabric is open");
  }
  if (settings.empty()) {
    return error{errc::invalid_argument, fmt::format("{}: no setting begins so", arguments.prefix)};
  }
  for (const auto& warning : configuration.warnings()) fmt::print(stderr, "weft: warning: {}\n", warning);
  context.document = {
      {"command", "config explain"}, {"settings", std::move(settings)}, {"warnings", configuration.warnings()}};
  return {};
}

} // namespace weft::tools
