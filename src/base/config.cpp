// The public config: a struct tunables and the few texts beside it, with the origin of each value.
// Owned by the caller; nothing is shared between copies.
#include <weft/config.hpp>

#include "base/config_file.hpp"
#include "base/nearest.hpp"
#include "base/printable.hpp"
#include "base/tunables.hpp"

#include <fmt/format.h>

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <map>
#include <span>

namespace weft {
namespace {

constexpr std::string_view variable_prefix = "WEFT_";

/// "slice.size" -> "WEFT_SLICE_SIZE".
std::string variable_of(std::string_view name) {
  std::string variable{variable_prefix};
  for (const char c : name) {
    variable += c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return variable;
}

/// What the kernel's 15 bytes leave for it before "-realtime".
constexpr std::size_t longest_thread_name = 6;

result<void> check_peer_name(std::string_view text) {
  constexpr std::size_t longest = 255;
  const bool spaces = text.find(' ') != text.npos;
  if (text.size() <= longest && !spaces && printable(std::string(text)) == text) return {};
  return error{errc::invalid_config, "peer.name: at most 255 bytes are allowed, without spaces and control characters"};
}

std::string suggestion(std::string_view name, std::span<const std::string_view> known) {
  const std::string_view nearest = nearest_name(name, known);
  return nearest.empty() ? std::string{} : fmt::format("; did you mean \"{}\"?", nearest);
}

} // namespace

struct config::state {
  tunables values;
  std::string peer_name;
  std::string listen;
  std::string thread_names = "weft";
  std::map<std::string, std::string, std::less<>> origins; // of the values that are not defaults
  std::vector<std::string> warnings;
  log_sink sink;

  /// The settings that are free text; all others are tunables.
  struct text_row {
    std::string_view name;
    std::string state::*member;
    std::string_view doc;
  };
  static const text_row text_rows[3];

  static std::vector<std::string_view> names();

  result<void> set(std::string_view name, std::string_view text, std::string_view origin);
  result<void> read_file(const std::filesystem::path& path);
  result<void> read_environment();
};

const config::state::text_row config::state::text_rows[] = {
    {"peer.name", &state::peer_name, "the name that peers know this process by; empty: host:pid:random"},
    {"listen", &state::listen, "HOST:PORT to accept links at; empty: this process only connects"},
    {"threads.name", &state::thread_names, "how the names of this fabric's threads begin, up to 6 bytes"},
};

std::vector<std::string_view> config::state::names() {
  std::vector<std::string_view> all;
  for (const text_row& row : text_rows) {
    all.push_back(row.name);
  }
  for (const tunable_row& row : tunable_rows()) {
    all.push_back(row.name);
  }
  return all;
}

result<void> config::state::set(std::string_view name, std::string_view text, std::string_view origin) {
  const auto known = names();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    return error{errc::invalid_config, fmt::format("no setting named \"{}\"{}", name, suggestion(name, known))};
  }
  const auto* row = std::find_if(std::begin(text_rows), std::end(text_rows), [&](auto& r) { return r.name == name; });
  if (row == std::end(text_rows)) {
    if (auto done = set_tunable(values, name, text); !done) return done;
  } else {
    if (row->member == &state::peer_name) {
      if (auto good = check_peer_name(text); !good) return good;
    }
    if (row->member == &state::thread_names && (text.empty() || text.size() > longest_thread_name)) {
      return error{errc::invalid_config, fmt::format("threads.name: 1 to {} bytes are allowed", longest_thread_name)};
    }
    this->*(row->member) = text;
  }
  origins.insert_or_assign(std::string{name}, std::string{origin});
  return {};
}

result<void> config::state::read_file(const std::filesystem::path& path) {
  const auto settings = read_config_file(path);
  if (!settings) return settings.error();
  for (const file_setting& entry : *settings) {
    if (auto done = set(entry.name, entry.text, "file " + entry.place); !done) {
      return error{errc::invalid_config, entry.place + ": " + done.error().where()};
    }
  }
  return {};
}

result<void> config::state::read_environment() {
  const auto known = names();
  std::map<std::string, std::string_view, std::less<>> name_of;
  for (const std::string_view name : known) {
    name_of.emplace(variable_of(name), name);
  }
  std::vector<std::string_view> variables;
  for (const auto& [variable, name] : name_of) {
    variables.push_back(variable);
  }
  for (char** entry = ::environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with(variable_prefix)) continue;
    const std::string_view variable = text.substr(0, text.find('='));
    const auto found = name_of.find(variable);
    if (found == name_of.end()) {
      warnings.push_back(fmt::format("{}: no such setting{}", variable, suggestion(variable, variables)));
      continue;
    }
    const std::string_view value = text.substr(std::min(variable.size() + 1, text.size()));
    if (auto done = set(found->second, value, fmt::format("environment {}", variable)); !done) {
      return error{errc::invalid_config, fmt::format("{}: {}", variable, done.error().where())};
    }
  }
  return {};
}

config::config() : state_(std::make_unique<state>()) {}
config::config(const config& other) : state_(std::make_unique<state>(*other.state_)) {}
config& config::operator=(const config& other) {
  if (this != &other) state_ = std::make_unique<state>(*other.state_);
  return *this;
}
config::config(config&& other) noexcept = default;
config& config::operator=(config&& other) noexcept = default;
config::~config() = default;

result<config> config::from_file(const std::filesystem::path& path) {
  return load({.file = path});
}

result<config> config::load(const config_sources& sources) {
  config loaded;
  if (sources.file) {
    if (auto done = loaded.state_->read_file(*sources.file); !done) return done.error();
  }
  if (sources.environment) {
    if (auto done = loaded.state_->read_environment(); !done) return done.error();
  }
  for (const auto& [name, text] : sources.command_line) {
    if (auto done = loaded.set(name, text); !done) return done.error();
  }
  if (auto good = loaded.validate(); !good) return good.error();
  return loaded;
}

result<void> config::set(std::string_view name, std::string_view text) {
  return state_->set(name, text, "command line");
}

result<std::string> config::get(std::string_view name) const {
  for (const state::text_row& row : state::text_rows) {
    if (row.name == name) return (*state_).*(row.member);
  }
  return format_tunable(state_->values, name);
}

result<void> config::validate() const {
  return weft::validate(state_->values);
}

std::vector<setting> config::explain() const {
  const auto origin_of = [&](std::string_view name) {
    const auto found = state_->origins.find(name);
    return found == state_->origins.end() ? std::string{"default"} : found->second;
  };
  std::vector<setting> settings;
  for (const state::text_row& row : state::text_rows) {
    settings.push_back({.name = std::string{row.name},
                        .value = (*state_).*(row.member),
                        .origin = origin_of(row.name),
                        .default_value = state{}.*(row.member),
                        .range = "",
                        .unit = "",
                        .hot = false,
                        .doc = std::string{row.doc}});
  }
  for (const tunable_row& row : tunable_rows()) {
    settings.push_back({.name = std::string{row.name},
                        .value = format_tunable(state_->values, row.name).value(),
                        .origin = origin_of(row.name),
                        .default_value = row.default_value,
                        .range = row.range,
                        .unit = std::string{row.unit},
                        .hot = row.hot,
                        .doc = std::string{row.doc}});
  }
  return settings;
}

const std::vector<std::string>& config::warnings() const noexcept {
  return state_->warnings;
}
const std::string& config::peer_name() const noexcept {
  return state_->peer_name;
}
const std::string& config::listen() const noexcept {
  return state_->listen;
}
void config::set_sink(log_sink sink) {
  state_->sink = std::move(sink);
}
const log_sink& config::sink() const noexcept {
  return state_->sink;
}
const tunables& config::values() const noexcept {
  return state_->values;
}

} // namespace weft
