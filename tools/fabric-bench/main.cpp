// The program `fabric-bench`: its command line, with perftest's spellings where it has some, and its exit code.
#include "common/url.hpp"
#include "fabric-bench/bench.hpp"
#include "fabric-bench/lane_plan.hpp"

#include <weft/units.hpp>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace weft::tools {
namespace {

constexpr const char* footer =
    R"(Percentiles are in every report; p99.9 needs 10,000 samples. Rates are decimal: 1 GB/s is 1e9 bytes per second.

Exit codes: 0 ok, 1 failed, 2 wrong use, 3 inconclusive: less than 99% of the offered load was done (OVERLOADED), or
what was measured shows nothing.)";

/// As given, not yet read.
struct command_line {
  common_options common;
  bench_arguments arguments;
  std::string size;
  std::string duration;
  std::string rate;
  std::string phase;
  std::string window;
  std::string checkpoint;
  std::string json_file; ///< "-": standard output
  CLI::Option* json = nullptr;
  bool ignored = false;
};

/// perftest gives seconds without a unit.
result<std::chrono::nanoseconds> duration_of(std::string text) {
  if (!text.empty() && text.find_first_not_of("0123456789") == text.npos) text += 's';
  return read_duration("--duration", text);
}

void add_load_options(CLI::App& command, command_line& line) {
  auto& arguments = line.arguments;
  command.add_option("ADDRESS", arguments.address, "HOST:PORT of a server; default: one in this process, on loopback");
  command.add_option("-D,--duration", line.duration, "of each measurement (default 5s)")->type_name("DURATION");
  command.add_option("-n,--iters", arguments.iterations, "operations in place of a duration")->type_name("N");
  command.add_flag("-F", line.ignored, "accepted for perftest's sake");
}

void add_all_option(CLI::App& command, command_line& line) {
  command.add_flag("-a,--all", line.arguments.all_sizes, "a range of sizes, one after the other");
}

void add_depth_option(CLI::App& command, command_line& line, const std::string& what) {
  command.add_option("-q,--streams", line.arguments.depth, what)->check(CLI::Range(1, 4096))->type_name("N");
}

void add_caller_option(CLI::App& command, command_line& line) {
  command.add_flag("--own-context", line.arguments.own_context,
                   "answers run on an io_context of the caller's own, not on the lane's thread");
}

void add_plot_option(CLI::App& command, command_line& line, const std::string& of) {
  command.add_option("--plot", line.arguments.plot, of + " as a picture (SVG)")->type_name("FILE");
}

void add_mixed_options(CLI::App& command, command_line& line) {
  auto& arguments = line.arguments;
  command.add_option("ADDRESS", arguments.address, "HOST:PORT of a server; default: one in this process, on loopback");
  command
      .add_option(
          "--lane", arguments.lanes,
          "a lane and its load, may be repeated: requests at a rate (realtime:size=4K,rate=2000/s) or transfers, "
          "as many as go (bulk:size=4M,streams=8); also op=write|read, weight=, min=, limit=")
      ->type_name("LANE:KEY=VALUE,...")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  command
      .add_option("--at", arguments.change,
                  "change settings so long after the mixed phase began, and tell how soon it shows: "
                  "500ms:bulk.limit=400Mb/s, with --phase 1s")
      ->type_name("TIME:LANE.KEY=VALUE,...");
  command.add_flag("--naive", arguments.naive, "also with lanes off, to see what they are good for");
  command.add_flag("--processes", arguments.processes,
                   "requests at a rate in one process, transfers in another, as those of a server beside a trainer");
  command.add_option("--phase", line.phase, "of one load after the other (default 150ms)")->type_name("DURATION");
  command.add_option("--cycles", arguments.cycles, "turns of the phases in a repeat")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  command.add_option("--repeat", arguments.repeat, "repeats; ratios are medians over them")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--p99-ratio", arguments.most_p99_ratio, "mixed/idle p99 beyond which the verdict is failed")
      ->capture_default_str();
  command.add_option("--kept", arguments.least_kept, "share of their rate that transfers must keep")
      ->capture_default_str();
  add_plot_option(command, line, "latency distributions");
}

void add_commands(CLI::App& program, command_line& line) {
  auto& arguments = line.arguments;
  auto& serving = *program.add_subcommand("serve", "Publish a region, echo requests; serves any number of clients");
  serving.add_option("--listen", arguments.listen, "default 127.0.0.1:0")->type_name("HOST:PORT");
  serving.add_option("-s,--size", line.size, "of the region (default 256MiB)")->type_name("BYTES");
  serving.add_option("--admin", arguments.admin, "a Unix socket to make, for `weft lanes`")->type_name("PATH");

  auto& bandwidth = *program.add_subcommand("bw", "Bandwidth of writes or reads");
  add_load_options(bandwidth, line);
  add_all_option(bandwidth, line);
  bandwidth.add_option("-s,--size", line.size, "of an operation (default 1MiB)")->type_name("BYTES");
  add_depth_option(bandwidth, line, "operations in flight (default 16)");
  bandwidth.add_option("--op", arguments.operation, "write or read")
      ->check(CLI::IsMember({"write", "read"}))
      ->capture_default_str();
  bandwidth.add_flag("-b,--bidirectional", arguments.bidirectional, "writes and reads at once");
  add_plot_option(bandwidth, line, "latency distributions");
  bandwidth.add_flag("--report_gbits,--report-gbits", arguments.report_gbits, "rates in Gb/s only");

  auto& latency = *program.add_subcommand("lat", "Latency of requests: the full round trip");
  add_load_options(latency, line);
  add_all_option(latency, line);
  latency.add_option("-s,--size", line.size, "of a request and its answer (default 4KiB)")->type_name("BYTES");
  latency.add_option("--rate", line.rate, "requests offered, latency from when each was due (default 2000/s)");
  latency.add_flag("--closed-loop", arguments.closed_loop, "one request after the other, latency from the sending");
  add_caller_option(latency, line);
  add_plot_option(latency, line, "latency distributions");

  auto& rate = *program.add_subcommand("rate", "Requests per second, many in flight");
  add_load_options(rate, line);
  rate.add_option("-s,--size", line.size, "of a request and its answer (default 64)")->type_name("BYTES");
  add_depth_option(rate, line, "requests in flight (default 64)");
  add_caller_option(rate, line);

  auto& mixed =
      *program.add_subcommand("mixed", "Lanes beside each other: what each keeps of its latency and bandwidth");
  add_mixed_options(mixed, line);

  auto& sweep = *program.add_subcommand("sweep", "Writes, reads and requests of every size");
  add_load_options(sweep, line);
  add_depth_option(sweep, line, "writes or reads in flight (default 16)");
  add_plot_option(sweep, line, "bandwidth and latency over the size");

  auto& compare = *program.add_subcommand("compare", "What changed from one --json document to another");
  compare.add_option("DOCUMENTS", arguments.documents, "A.json B.json")->expected(2)->required();
  compare
      .add_option("--fail-if", arguments.fail_if,
                  "end with 1 if this holds: 'lat.p99>1.1x' (B against A), 'bw.bytes_per_s<3e9'; may be repeated")
      ->type_name("RUN.FIGURE<>NUMBER[x]")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);

  auto& shards = *program.add_subcommand("shards", "Fetch all shards as a trainer does, with requests meanwhile");
  shards.add_option("URL", arguments.urls, "weft://HOST:PORT[,HOST:PORT...]/[PREFIX]; all are replicas");
  shards.add_option("--window", line.window, "registered memory for shards on their way (default 64MiB)");
  shards.add_option("--rate", line.rate, "requests of 4KiB to each server (default 2000/s; 0: none)");
  shards.add_option("--checkpoint", line.checkpoint, "write so many bytes, read them back, compare");
}

/// The FILE of --json is optional, so an address or URL behind it is taken for one; here it gets its place.
void sort_out_json_file(command_line& line) {
  if (parse_url(line.json_file)) {
    line.arguments.urls.push_back(std::exchange(line.json_file, {}));
  } else if (line.arguments.address.empty() && check_address(line.json_file)) {
    line.arguments.address = std::exchange(line.json_file, {});
  }
}

/// Reads the texts.
result<void> read_arguments(command_line& line) {
  auto& arguments = line.arguments;
  sort_out_json_file(line);
  if (!line.size.empty()) {
    const auto size = read_bytes("--size", line.size);
    if (!size) return size.error();
    if (*size == 0) return error{errc::invalid_argument, "--size: it must be more than 0"};
    arguments.size = *size;
  }
  if (!line.duration.empty()) {
    const auto duration = duration_of(line.duration);
    if (!duration) return duration.error();
    arguments.duration = *duration;
  }
  if (!line.phase.empty()) {
    const auto phase = read_duration("--phase", line.phase);
    if (!phase) return phase.error();
    if (*phase < std::chrono::milliseconds{10}) {
      return error{errc::invalid_argument, "--phase: it must be 10ms at least"};
    }
    arguments.phase = *phase;
  }
  if (!line.rate.empty()) {
    const auto rate = read_rate("--rate", line.rate);
    if (!rate) return rate.error();
    arguments.rate = *rate;
  }
  for (const auto& [option, text, value] : {std::tuple{"--window", &line.window, &arguments.window},
                                            std::tuple{"--checkpoint", &line.checkpoint, &arguments.checkpoint}}) {
    if (text->empty()) continue;
    const auto bytes = read_bytes(option, *text);
    if (!bytes) return bytes.error();
    *value = *bytes;
  }
  auto common = read_common(line.common);
  if (!common) return common.error();
  arguments.common = std::move(*common);
  show_log(arguments.common.configuration, "fabric-bench");
  return {};
}

result<void> print(const command_line& line, const bench_report& report) {
  const bool json = line.json->count() > 0;
  const bool to_file = json && !line.json_file.empty() && line.json_file != "-";
  if (!json || to_file) fmt::print("{}", table(report, line.arguments.report_gbits));
  if (!json) return {};
  const auto document = json_document(report);
  std::FILE* const file = to_file ? std::fopen(line.json_file.c_str(), "w") : stdout;
  if (file == nullptr) return error{errc::io_error, fmt::format("--json {}: cannot be written", line.json_file)};
  const bool written = std::fwrite(document.data(), 1, document.size(), file) == document.size();
  if ((to_file ? std::fclose(file) : std::fflush(file)) != 0 || !written) {
    return error{errc::io_error, fmt::format("--json {}", line.json_file)};
  }
  return {};
}

result<exit_code> bench(command_line& line, const CLI::App& program, interrupt& signals, bench_report& report) {
  if (program.get_subcommands().empty()) {
    return error{errc::invalid_argument, "no command given; `fabric-bench --help` lists them"};
  }
  if (const auto good = read_arguments(line); !good) return good.error();
  const auto& arguments = line.arguments;
  if (program.got_subcommand("serve")) {
    if (const auto served = bench_serve(arguments, signals); !served) return served.error();
    return exit_code::ok;
  }
  if (program.got_subcommand("compare")) {
    const auto holding = bench_compare(arguments);
    if (!holding) return holding.error();
    return holding->empty() ? exit_code::ok : exit_code::failed;
  }
  const auto run = program.got_subcommand("bw")      ? bench_bandwidth
                   : program.got_subcommand("lat")   ? bench_latency
                   : program.got_subcommand("rate")  ? bench_rate
                   : program.got_subcommand("sweep") ? bench_sweep
                   : program.got_subcommand("mixed") ? bench_mixed
                                                     : bench_shards;
  const auto ended = run(arguments, signals, report);
  if (!ended && report.runs.empty()) return ended.error();
  // What was measured before a failure is told too.
  if (const auto printed = print(line, report); !printed) return printed.error();
  if (!ended) return ended.error();
  return report.ending();
}

int run(int count, char** arguments) {
  interrupt signals;
  command_line line;
  CLI::App program{"Measures Weft: bandwidth, latency, and the work of a trainer.", "fabric-bench"};
  program.footer(footer);
  add_common_options(program, line.common);
  line.json = program.add_option("--json", line.json_file, "one JSON document, to FILE or standard output")
                  ->type_name("[FILE]")
                  ->expected(0, 1);
  add_commands(program, line);
  try {
    program.parse(count, arguments);
  } catch (const CLI::ParseError& failure) {
    return end_of_parsing(program, failure);
  }
  bench_report report;
  report.argv.assign(arguments, arguments + count);
  const auto ended = bench(line, program, signals, report);
  if (ended) return static_cast<int>(*ended);
  print_error("fabric-bench", ended.error());
  const auto code = exit_code_of(ended.error().code());
  return static_cast<int>(code == exit_code::usage ? code : exit_code::failed);
}

} // namespace
} // namespace weft::tools

int main(int count, char** arguments) {
  return weft::tools::run(count, arguments);
}
