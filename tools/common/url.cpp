// The parser of URLs: it knows the form alone; whether a shard may be called so is the library's to say.
#include "common/url.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cstdint>

namespace weft::tools {
namespace {

constexpr std::string_view scheme = "weft://";

/// What is wrong with an address; empty if nothing.
std::string fault_of_address(std::string_view text) {
  std::string_view host;
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == text.npos) return fmt::format("\"{}\": the [ has no ]", text);
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (!port.starts_with(':')) return fmt::format("\"{}\": no port after the ]", text);
    port.remove_prefix(1);
  } else {
    const auto colon = text.rfind(':');
    if (colon == text.npos) return fmt::format("\"{}\": the port is missing", text);
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (host.find(':') != host.npos)
      return fmt::format("\"{}\": an IPv6 address needs brackets: [{}]:PORT", text, text);
  }
  if (host.empty()) return fmt::format("\"{}\": the host is missing", text);
  if (host.find_first_of(" @/?#%\\") != host.npos) return fmt::format("\"{}\": a host has no such characters", text);
  std::uint16_t number = 0;
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (failure != std::errc{} || end != port.data() + port.size()) {
    return fmt::format("\"{}\": \"{}\" is not a port from 0 to 65535", text, port);
  }
  return {};
}

} // namespace

std::string shard_url::text() const {
  return fmt::format("{}{}/{}", scheme, fmt::join(replicas, ","), name);
}

result<void> check_address(std::string_view text) {
  if (auto fault = fault_of_address(text); !fault.empty()) return error{errc::invalid_url, std::move(fault)};
  return {};
}

result<shard_url> parse_url(std::string_view text) {
  const auto wrong = [&](std::string_view what) {
    return error{errc::invalid_url, fmt::format("\"{}\": {}", text, what)};
  };
  if (!text.starts_with(scheme)) return wrong("it does not begin with weft://");
  auto rest = text.substr(scheme.size());
  shard_url url;
  if (const auto slash = rest.find('/'); slash != rest.npos) {
    url.name = rest.substr(slash + 1);
    rest = rest.substr(0, slash);
  }
  while (true) {
    const auto comma = rest.find(',');
    const auto address = rest.substr(0, comma);
    if (address.empty()) return wrong("an address is missing");
    if (auto fault = fault_of_address(address); !fault.empty()) return wrong(fault);
    url.replicas.emplace_back(address);
    if (comma == rest.npos) return url;
    rest.remove_prefix(comma + 1);
  }
}

result<shard_url> parse_shard_url(std::string_view text) {
  auto url = parse_url(text);
  if (url && url->name.empty()) {
    return error{errc::invalid_url, fmt::format("\"{}\": the name of the shard is missing", text)};
  }
  return url;
}

} // namespace weft::tools
