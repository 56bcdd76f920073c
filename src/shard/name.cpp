// Checking and escaping of shard names.
#include "shard/name.hpp"

#include <boost/nowide/utf/utf.hpp>
#include <boost/uuid/name_generator_sha1.hpp>
#include <boost/uuid/uuid_io.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace weft {
namespace {

using utf8 = boost::nowide::utf::utf_traits<char>;

/// For messages: as much of the name as fits a line, and nothing that a terminal would obey.
std::string quoted(std::string_view name) {
  constexpr std::size_t shown = 64;
  std::string text = "shard name \"";
  for (const char c : name.substr(0, shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte > 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += fmt::format("%{:02X}", byte);
    }
  }
  return text + (name.size() > shown ? "...\"" : "\"");
}

result<void> check_characters(std::string_view name) {
  for (const char* at = name.data(); at != name.data() + name.size();) {
    const auto position = at - name.data();
    const auto character = utf8::decode(at, name.data() + name.size());
    if (character == boost::nowide::utf::illegal || character == boost::nowide::utf::incomplete) {
      return error{errc::invalid_name, fmt::format("{}: not UTF-8 at byte {}", quoted(name), position)};
    }
    if (character < 0x20 || (character >= 0x7f && character < 0xa0)) {
      return error{errc::invalid_name, fmt::format("{}: control character U+{:04X} at byte {}", quoted(name),
                                                   static_cast<std::uint32_t>(character), position)};
    }
    if (character == '\\') {
      return error{errc::invalid_name, fmt::format("{}: backslash at byte {}", quoted(name), position)};
    }
  }
  return {};
}

result<void> check_components(std::string_view name) {
  for (std::size_t start = 0; start <= name.size();) {
    const auto end = std::min(name.find('/', start), name.size());
    const auto component = name.substr(start, end - start);
    if (component.empty()) {
      return error{errc::invalid_name, fmt::format("{}: empty component at byte {}", quoted(name), start)};
    }
    if (component == "." || component == "..") {
      return error{errc::invalid_name, fmt::format("{}: component \"{}\" at byte {}", quoted(name), component, start)};
    }
    start = end + 1;
  }
  return {};
}

/// The characters that RFC 3986 calls unreserved, judged without the locale.
bool stands_for_itself(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

std::string escaped(std::string_view name) {
  std::string text;
  text.reserve(name.size() + 8);
  for (const char c : name) {
    if (stands_for_itself(c)) {
      text += c;
    } else {
      text += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return text;
}

} // namespace

result<void> check_shard_name(std::string_view name) {
  if (name.empty()) return error{errc::invalid_name, "shard name: empty"};
  if (name.size() > longest_shard_name) {
    return error{errc::invalid_name,
                 fmt::format("{}: {} bytes, at most {} allowed", quoted(name), name.size(), longest_shard_name)};
  }
  if (auto checked = check_characters(name); !checked) return checked;
  return check_components(name);
}

std::string file_name_of(std::string_view shard_name) {
  std::string text = escaped(shard_name);
  if (text.size() <= longest_file_name) return text;
  const boost::uuids::name_generator_sha1 hash{boost::uuids::ns::url()};
  return "%~" + boost::uuids::to_string(hash(std::string{shard_name}));
}

} // namespace weft
