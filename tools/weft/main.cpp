// The program `weft`: its command line, and the way from a subcommand's result to text, JSON and exit code.
#include "weft/commands.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <functional>

namespace weft::tools {
namespace {

constexpr const char* footer =
    R"(A URL is weft://HOST:PORT[,HOST:PORT...]/NAME: several addresses are replicas; IPv6 as [::1]:PORT.

Exit codes: 0 ok, 1 failed, 2 wrong use (command line, configuration, URL, name), 4 no such shard,
            5 checksum mismatch, 6 unreachable or out of time.)";

using action = std::function<result<void>(command_context&)>;

struct command_line {
  common_options common;
  bool json = false;
  serve_arguments serve;
  put_arguments put;
  get_arguments get;
  url_argument list;
  url_argument stat;
  url_argument verify;
  url_argument remove;
  doctor_arguments doctor;
  lanes_arguments lanes;
  explain_arguments explain;
  action chosen;
};

/// Adds a subcommand that does `run` with `arguments`.
template <class Arguments>
CLI::App& add(CLI::App& program, command_line& line, const std::string& name, const std::string& what,
              result<void> (*run)(command_context&, const Arguments&), const Arguments& arguments) {
  CLI::App& command = *program.add_subcommand(name, what);
  command.final_callback([&line, run, &arguments] {
    line.chosen = [run, &arguments](command_context& context) { return run(context, arguments); };
  });
  return command;
}

void add_commands(CLI::App& program, command_line& line) {
  auto& serving = add(program, line, "serve", "Serve the shards of a folder until SIGTERM", &serve, line.serve);
  serving.add_option("--store", line.serve.store, "folder, made if absent")->type_name("DIR")->required();
  serving.add_option("--listen", line.serve.listen, "default 127.0.0.1:0; port 0 takes a free one")
      ->type_name("HOST:PORT");
  serving.add_option("--patience", line.serve.patience, "how long SIGTERM waits for what is under way")
      ->type_name("DURATION")
      ->capture_default_str();

  serving.add_option("--scrub", line.serve.scrub, "check all blocks in the background, at so many bytes per second")
      ->type_name("RATE");

  serving.add_option("--admin", line.serve.admin, "a Unix socket to make, for `weft lanes`")->type_name("PATH");

  auto& putting = add(program, line, "put", "Store a file as a shard on every replica", &put, line.put);
  putting.add_option("FILE", line.put.file, "- is standard input")->required();
  putting.add_option("URL", line.put.url, "weft://HOST:PORT[,HOST:PORT...]/NAME")->required();
  putting.add_option("--min-copies", line.put.min_copies, "copies that must be durable (default: all)")->type_name("N");

  auto& getting = add(program, line, "get", "Fetch a shard, striped over its replicas", &get, line.get);
  getting.add_option("URL", line.get.url, "weft://HOST:PORT[,HOST:PORT...]/NAME")->required();
  getting.add_option("FILE", line.get.file, "- is standard output")->required();
  getting.add_option("--range", line.get.range, "only so many bytes from an offset on")->type_name("OFFSET:LENGTH");

  add(program, line, "ls", "List the shards whose names begin with a prefix", &list, line.list)
      .add_option("URL", line.list.url, "weft://HOST:PORT[,HOST:PORT...]/[PREFIX]")
      ->required();
  add(program, line, "stat", "Show a shard's size and version", &stat, line.stat)
      .add_option("URL", line.stat.url, "weft://HOST:PORT[,HOST:PORT...]/NAME")
      ->required();
  add(program, line, "verify", "Let every replica check its copy", &verify, line.verify)
      .add_option("URL", line.verify.url, "weft://HOST:PORT[,HOST:PORT...]/NAME")
      ->required();

  add(program, line, "rm", "Remove a shard from every replica; who reads it may finish", &remove, line.remove)
      .add_option("URL", line.remove.url, "weft://HOST:PORT[,HOST:PORT...]/NAME")
      ->required();

  add(program, line, "doctor", "Show the rails of this host, and which ways lead to peers", &doctor, line.doctor)
      .add_option("ADDRESS", line.doctor.peers, "HOST:PORT of peers, each of whose paths is tried");

  auto& lanes = *program.add_subcommand("lanes", "The lanes of a running process")->require_subcommand(1);
  lanes.add_option("--admin", line.lanes.admin, "the process's admin socket, as `weft serve --admin` names it")
      ->type_name("PATH");
  lanes.fallthrough();
  add(lanes, line, "show", "What each lane has, may have, and carried; what is under way", &show_lanes, line.lanes);
  add(lanes, line, "set", "Change weights, reservations and limits: all or none, from the next slice on", &set_lanes,
      line.lanes)
      .add_option("VALUES", line.lanes.values, "as bulk.limit=2Gb/s standard.weight=4; a limit of 0 is none")
      ->required();

  auto& config = *program.add_subcommand("config", "Settings")->require_subcommand(1);
  add(config, line, "explain", "Show settings: value, origin, default, range", &explain_config, line.explain)
      .add_option("PREFIX", line.explain.prefix, "only settings whose names begin so");
}

exit_code conclude(command_context& context, const result<void>& ended) {
  if (!ended) print_error("weft", ended.error());
  if (context.json) {
    nlohmann::ordered_json document = {{"schema", 1}, {"tool", "weft"}, {"version", WEFT_VERSION}};
    document.update(context.document);
    if (!ended) {
      const auto& failure = ended.error();
      document["error"] = {{"code", name(failure.code())},
                           {"where", failure.where()},
                           {"text", make_error_code(failure.code()).message()},
                           {"hint", hint(failure.code())}};
    }
    // Names of files need not be UTF-8; the document must be.
    fmt::print("{}\n", document.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  }
  if (std::fflush(stdout) != 0 && ended) {
    print_error("weft", {errc::io_error, "standard output"});
    return exit_code::failed;
  }
  return ended ? exit_code::ok : exit_code_of(ended.error().code());
}

int run(int count, char** arguments) {
  interrupt signals;
  command_line line;
  CLI::App program{"Moves shards between storage servers and training nodes.", "weft"};
  program.footer(footer);
  add_common_options(program, line.common);
  program.add_flag("--json", line.json, "print one JSON document");
  add_commands(program, line);
  try {
    program.parse(count, arguments);
  } catch (const CLI::ParseError& failure) {
    return end_of_parsing(program, failure);
  }
  if (!line.chosen) {
    print_error("weft", {errc::invalid_argument, "no command given; `weft --help` lists them"});
    return static_cast<int>(exit_code::usage);
  }
  command_context context{{}, signals, line.json, nlohmann::ordered_json::object()};
  result<void> ended;
  if (auto settings = read_common(line.common); settings) {
    context.settings = std::move(*settings);
    show_log(context.settings.configuration, "weft");
    ended = line.chosen(context);
  } else {
    ended = settings.error();
  }
  return static_cast<int>(conclude(context, ended));
}

} // namespace
} // namespace weft::tools

int main(int count, char** arguments) {
  return weft::tools::run(count, arguments);
}
