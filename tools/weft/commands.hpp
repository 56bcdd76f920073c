// The subcommands of `weft`: what each is given, and the function that does it. All run on the main thread.
#pragma once

#include "common/command_line.hpp"
#include "common/exit_code.hpp"
#include "common/interrupt.hpp"
#include "common/pending.hpp"
#include "common/url.hpp"

#include <weft/fabric.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::tools {

/// What every subcommand works with.
struct command_context {
  common_settings settings;
  interrupt& signals;
  bool json = false;
  /// With --json, printed once at the end, with the error if there was one. Filled in either case.
  nlohmann::ordered_json document;

  /// The deadline given, else one that grows with the work: 30 s and another second for each 10 MB.
  [[nodiscard]] std::chrono::nanoseconds deadline_for(std::uint64_t bytes) const {
    if (settings.deadline) return *settings.deadline;
    return std::chrono::seconds{30 + bytes / 10'000'000};
  }
  [[nodiscard]] weft::lane lane() const { return settings.lane.value_or(weft::lane::bulk); }
};

/// The error of an operation that has words of its own, or else happened at `place`.
[[nodiscard]] inline error failure_of(error_code code, std::string_view where, std::string_view place) {
  return {to_errc(code), std::string{where.empty() ? place : where}};
}

struct serve_arguments {
  std::string store;
  std::string listen;
  std::string patience = "5s";
  std::string scrub; ///< bytes per second
  std::string admin; ///< path of a socket for `weft lanes`; empty: none
};
struct put_arguments {
  std::string file;
  std::string url;
  std::uint32_t min_copies = 0;
};
struct get_arguments {
  std::string url;
  std::string file;
  std::string range;
};
struct url_argument {
  std::string url;
};
struct doctor_arguments {
  std::vector<std::string> peers; ///< HOST:PORT
};
struct lanes_arguments {
  std::string admin;               ///< path of the process's socket
  std::vector<std::string> values; ///< NAME=VALUE
};
struct explain_arguments {
  std::string prefix;
};

[[nodiscard]] result<void> serve(command_context& context, const serve_arguments& arguments);
[[nodiscard]] result<void> put(command_context& context, const put_arguments& arguments);
[[nodiscard]] result<void> get(command_context& context, const get_arguments& arguments);
[[nodiscard]] result<void> list(command_context& context, const url_argument& argument);
[[nodiscard]] result<void> stat(command_context& context, const url_argument& argument);
[[nodiscard]] result<void> verify(command_context& context, const url_argument& argument);
[[nodiscard]] result<void> remove(command_context& context, const url_argument& argument);
[[nodiscard]] result<void> doctor(command_context& context, const doctor_arguments& arguments);
[[nodiscard]] result<void> show_lanes(command_context& context, const lanes_arguments& arguments);
[[nodiscard]] result<void> set_lanes(command_context& context, const lanes_arguments& arguments);
[[nodiscard]] result<void> explain_config(command_context& context, const explain_arguments& arguments);

} // namespace weft::tools
