#include "base/rail_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace weft {
namespace {

constexpr std::string_view every = "any";
/// As the verbs' eight bits for a port and for an index of the table of GIDs can name.
constexpr std::uint32_t most_ports = 255;
constexpr std::uint32_t most_gids = 256;

struct item {
  std::string_view device;
  std::optional<std::uint32_t> port = {};
  std::optional<std::uint32_t> gid_index = {};
};

std::optional<std::uint32_t> number_of(std::string_view text, std::uint32_t least, std::uint32_t most) {
  std::uint32_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool whole = failure == std::errc{} && end == text.data() + text.size();
  return whole && number >= least && number <= most ? std::optional(number) : std::nullopt;
}

std::optional<item> item_of(std::string_view text) {
  const auto part = [&text] {
    const auto colon = std::min(text.find(':'), text.size());
    const auto found = text.substr(0, colon);
    text.remove_prefix(std::min(colon + 1, text.size()));
    return found;
  };
  if (text.ends_with(':')) return std::nullopt;
  item found{.device = part()};
  if (found.device.empty() || !std::ranges::all_of(found.device, [](char each) { return each > ' ' && each < '\x7f'; }))
    return std::nullopt;
  if (text.empty()) return found;
  found.port = number_of(part(), 1, most_ports);
  if (!found.port || text.empty()) return found.port ? std::optional(found) : std::nullopt;
  found.gid_index = number_of(text, 0, most_gids - 1);
  return found.gid_index ? std::optional(found) : std::nullopt;
}

bool excludes(std::string_view list) {
  return list.starts_with('^');
}

/// `take(item)` for each, until it says no; false: it did, or an item is none.
template <class Take>
bool each_item(std::string_view list, const Take& take) {
  if (excludes(list)) list.remove_prefix(1);
  while (true) {
    const auto comma = std::min(list.find(','), list.size());
    const auto found = item_of(list.substr(0, comma));
    if (!found || !take(*found)) return false;
    if (comma == list.size()) return true;
    list.remove_prefix(comma + 1);
  }
}

} // namespace

rail_list::verdict rail_list::of(std::string_view device, std::uint32_t port) const noexcept {
  if (text().empty()) return {.used = true};
  std::optional<item> named;
  each_item(text(), [&](const item& each) {
    if (each.device == device && each.port.value_or(port) == port) named = each;
    return !named;
  });
  if (excludes(text())) return {.used = !named};
  return named ? verdict{.used = true, .gid_index = named->gid_index} : verdict{};
}

std::vector<std::string> rail_list::missing_in(const std::vector<std::string>& ports) const {
  std::vector<std::string> missing;
  if (text().empty() || excludes(text())) return missing;
  each_item(text(), [&](const item& each) {
    const auto name = each.port ? fmt::format("{}:{}", each.device, *each.port) : std::string(each.device);
    const auto has_that_name = [&](const std::string& port) {
      return each.port ? port == name : std::string_view(port).substr(0, port.rfind(':')) == name;
    };
    if (std::ranges::none_of(ports, has_that_name)) missing.push_back(name);
    return true;
  });
  return missing;
}

result<rail_list> parse_rail_list(std::string_view text) {
  rail_list value;
  if (text == every) return value;
  const bool all_others = excludes(text);
  std::vector<item> known;
  const auto is_new = [&known](const item& each) {
    const bool named = std::ranges::any_of(known, [&each](const item& other) {
      return other.device == each.device && (!other.port || !each.port || other.port == each.port);
    });
    known.push_back(each);
    return !named;
  };
  const bool read = text.size() <= rail_list::longest &&
                    each_item(text, [&](const item& each) { return is_new(each) && (!all_others || !each.gid_index); });
  if (!read) {
    return error{errc::invalid_argument, fmt::format("\"{}\" is no list of RDMA devices, as mlx5_0,mlx5_1:1:3 with "
                                                     "ports and GID indices, each once, or ^mlx5_0 for all others",
                                                     text)};
  }
  std::ranges::copy(text, value.characters.begin());
  return value;
}

std::string to_string(const rail_list& value) {
  return std::string(value.text().empty() ? every : value.text());
}

} // namespace weft
