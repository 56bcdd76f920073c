// Common options, on CLI11.
#include "common/command_line.hpp"

#include "common/exit_code.hpp"

#include <weft/units.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/version.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace weft::tools {
namespace {

template <class Value>
result<std::optional<Value>> choice(std::string_view option, std::string_view text, std::optional<Value> found,
                                    std::string_view allowed) {
  if (text.empty() || found) return found;
  return error{errc::invalid_argument, fmt::format("{}: \"{}\" is none of {}", option, text, allowed)};
}

} // namespace

void add_common_options(CLI::App& program, common_options& options) {
  // Options of the program may also stand behind the subcommand.
  program.fallthrough();
  program.set_version_flag("--version",
                           fmt::format("weft {} (Boost.Asio {}.{}.{})", WEFT_VERSION, BOOST_ASIO_VERSION / 100000,
                                       BOOST_ASIO_VERSION / 100 % 1000, BOOST_ASIO_VERSION % 100));
  program.add_option("--config", options.config_file, "TOML file with settings")->type_name("FILE");
  program.add_option("-o,--set", options.values, "one setting, over file and environment; may be repeated")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  program.add_option("--deadline", options.deadline, "give up after so long: 500ms, 2s, 1min")->type_name("DURATION");
  program.add_option("--lane", options.lane, "priority: realtime, standard, bulk, background")->type_name("LANE");
  program.add_option("--verify", options.verify, "check slices by CRC32C (slice), or leave it to the wire (wire)")
      ->type_name("slice|wire");
}

result<common_settings> read_common(const common_options& options) {
  config_sources sources;
  if (!options.config_file.empty()) sources.file = options.config_file;
  for (const auto& value : options.values) {
    const auto equals = value.find('=');
    if (equals == value.npos || equals == 0) {
      return error{errc::invalid_argument, fmt::format("--set {}: it needs the form NAME=VALUE", value)};
    }
    sources.command_line.emplace_back(value.substr(0, equals), value.substr(equals + 1));
  }
  common_settings settings;
  const auto lane =
      choice("--lane", options.lane, lane_from_name(options.lane), "realtime, standard, bulk, background");
  if (!lane) return lane.error();
  settings.lane = *lane;
  const auto verify = choice("--verify", options.verify, verify_mode_from_name(options.verify), "slice, wire");
  if (!verify) return verify.error();
  settings.verify = *verify;
  if (!options.deadline.empty()) {
    const auto deadline = read_duration("--deadline", options.deadline);
    if (!deadline) return deadline.error();
    settings.deadline = *deadline;
    sources.command_line.emplace_back("deadline.default", format_duration(*deadline));
  }
  if (settings.verify) sources.command_line.emplace_back("verify", name(*settings.verify));
  auto loaded = config::load(sources);
  if (!loaded) return loaded.error();
  settings.configuration = std::move(*loaded);
  return settings;
}

int end_of_parsing(const CLI::App& program, const CLI::ParseError& failure) {
  if (failure.get_exit_code() == 0) return program.exit(failure);
  fmt::print(stderr, "{0}: command line: {1} (`{0} --help` and `{0} COMMAND --help` list what may be given)\n",
             program.get_name(), failure.what());
  return static_cast<int>(exit_code::usage);
}

log_sink stderr_sink(std::string_view program) {
  return [program = std::string(program)](log_level level, std::string_view text) {
    const auto line = fmt::format("{}: {}: {}\n", program, name(level), text);
    std::fwrite(line.data(), 1, line.size(), stderr);
  };
}

namespace {

/// Whether a file, the environment or the command line gave the setting a value.
bool is_set(const config& configuration, std::string_view name) {
  const auto settings = configuration.explain();
  return std::any_of(settings.begin(), settings.end(),
                     [&](const setting& one) { return one.name == name && one.origin != "default"; });
}

} // namespace

void show_log(config& configuration, std::string_view program) {
  const auto least = is_set(configuration, "log.level") ? log_level::trace : log_level::warning;
  configuration.set_sink([least, sink = stderr_sink(program)](log_level level, std::string_view text) {
    if (level >= least) sink(level, text);
  });
}

result<std::chrono::nanoseconds> read_duration(std::string_view option, std::string_view text) {
  auto read = parse_duration(text);
  if (!read) return error{read.error().code(), fmt::format("{}: {}", option, read.error().where())};
  if (read->count() <= 0) return error{errc::invalid_argument, fmt::format("{}: it must be more than 0", option)};
  return read;
}

result<std::uint64_t> read_bytes(std::string_view option, std::string_view text) {
  const auto read = parse_byte_count(text);
  if (!read) return error{read.error().code(), fmt::format("{}: {}", option, read.error().where())};
  return read->value();
}

void print_error(std::string_view program, const error& failure) {
  fmt::print(stderr, "{}: {}\n", program, failure.message());
}

} // namespace weft::tools
