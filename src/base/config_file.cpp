// The only user of toml++: its nodes become names, texts and places.
#include "base/config_file.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

namespace weft {
namespace {

std::string place_of(const std::string& file, const toml::source_region& region) {
  return fmt::format("{}:{}:{}", file, region.begin.line, region.begin.column);
}

/// Adds the settings under `table`, whose own name, if any, ends in a dot.
result<void> flatten(const std::string& file, const std::string& prefix, const toml::table& table,
                     std::vector<file_setting>& settings) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string{key.str()};
    const std::string place = place_of(file, key.source());
    if (const auto* inner = node.as_table()) {
      if (auto done = flatten(file, name + '.', *inner, settings); !done) return done;
    } else if (const auto* text = node.as_string()) {
      settings.push_back({name, text->get(), place});
    } else if (const auto* number = node.as_integer()) {
      settings.push_back({name, std::to_string(number->get()), place});
    } else {
      return error{errc::invalid_config, fmt::format("{}: {} must be a text or a whole number", place, name)};
    }
  }
  return {};
}

result<std::string> read_whole(const std::string& file) {
  constexpr std::size_t most = std::size_t{1} << 20; // no configuration is as long; a device file would never end
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream{std::fopen(file.c_str(), "rb"), &std::fclose};
  std::string text(most + 1, '\0');
  if (stream) text.resize(std::fread(text.data(), 1, text.size(), stream.get()));
  if (!stream || std::ferror(stream.get()) != 0) {
    return error{errc::invalid_config, fmt::format("{}: cannot be read: {}", file, std::strerror(errno))};
  }
  if (text.size() > most) return error{errc::invalid_config, fmt::format("{}: is longer than 1 MiB", file)};
  return text;
}

} // namespace

result<std::vector<file_setting>> read_config_file(const std::filesystem::path& path) {
  const std::string file = path.string();
  const auto text = read_whole(file);
  if (!text) return text.error();
  try {
    std::vector<file_setting> settings;
    if (auto done = flatten(file, "", toml::parse(*text, file), settings); !done) return done.error();
    return settings;
  } catch (const toml::parse_error& failure) {
    return error{errc::invalid_config, fmt::format("{}: {}", place_of(file, failure.source()), failure.description())};
  }
}

} // namespace weft
