#include "base/cpu_list.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

namespace weft {
namespace {

std::optional<std::size_t> number_of(std::string_view text) {
  std::size_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{} || end != text.data() + text.size() || number >= cpu_list::most) return std::nullopt;
  return number;
}

} // namespace

result<cpu_list> parse_cpu_list(std::string_view text) {
  cpu_list value;
  for (std::size_t at = 0; at < text.size();) {
    const auto comma = std::min(text.find(',', at), text.size());
    const auto item = text.substr(at, comma - at);
    const auto dash = item.find('-');
    const auto first = number_of(item.substr(0, dash));
    const auto last = dash == item.npos ? first : number_of(item.substr(dash + 1));
    const bool ends_with_comma = comma + 1 == text.size();
    if (!first || !last || *first > *last || ends_with_comma) {
      return error{errc::invalid_argument,
                   fmt::format("\"{}\" is no list of processors below {}, as 0-3,8", text, cpu_list::most)};
    }
    for (auto cpu = *first; cpu <= *last; ++cpu) value.add(cpu);
    at = comma + 1;
  }
  return value;
}

std::string to_string(const cpu_list& value) {
  std::string text;
  for (std::size_t first = 0; first < cpu_list::most; ++first) {
    if (!value.has(first)) continue;
    auto last = first;
    while (last + 1 < cpu_list::most && value.has(last + 1)) ++last;
    if (!text.empty()) text += ',';
    text += last == first ? fmt::format("{}", first) : fmt::format("{}{}{}", first, last > first + 1 ? '-' : ',', last);
    first = last;
  }
  return text;
}

} // namespace weft
