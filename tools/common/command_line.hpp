// The options that every command takes, and what becomes of them. Used on the main thread.
#pragma once

#include <weft/config.hpp>
#include <weft/error.hpp>
#include <weft/lane.hpp>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class ParseError;
} // namespace CLI

namespace weft::tools {

/// As given, not yet read.
struct common_options {
  std::string config_file;
  std::vector<std::string> values; ///< name=value
  std::string deadline;
  std::string lane;
  std::string verify;
};

/// As read.
struct common_settings {
  config configuration;
  std::optional<std::chrono::nanoseconds> deadline;
  std::optional<weft::lane> lane;
  std::optional<verify_mode> verify;
};

/// Adds the common options and --version to the program.
void add_common_options(CLI::App& program, common_options& options);

/// Loads the configuration and reads the other options. A deadline is also the default of operations that take none of
/// their own. Errors: invalid_config, invalid_argument.
[[nodiscard]] result<common_settings> read_common(const common_options& options);

/// Prints help and version to standard output, and a mistake with a hint to standard error. Gives the exit code.
[[nodiscard]] int end_of_parsing(const CLI::App& program, const CLI::ParseError& failure);

/// For libraries' messages: prints each to standard error.
[[nodiscard]] log_sink stderr_sink(std::string_view program);
/// A client's: warnings and worse, or what log.level says if that is given. Errors are told by the command itself.
void show_log(config& configuration, std::string_view program);

/// parse_duration() and parse_byte_count() with the option's name in the error.
[[nodiscard]] result<std::chrono::nanoseconds> read_duration(std::string_view option, std::string_view text);
[[nodiscard]] result<std::uint64_t> read_bytes(std::string_view option, std::string_view text);

/// "<where>: <text> (<hint>)" on standard error, behind the program's name.
void print_error(std::string_view program, const error& failure);

} // namespace weft::tools
