// The table and the document of a report.
#include "fabric-bench/report.hpp"

#include "fabric-bench/context.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace weft::tools {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t samples_for_p999 = 10'000;

double microseconds(std::chrono::nanoseconds value) {
  return static_cast<double>(value.count()) / 1000;
}

ordered_json number(double value) {
  return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json latency_json(const histogram& values) {
  const auto at = [&](double share) {
    return values.count() > 0 ? ordered_json(microseconds(values.quantile(share))) : ordered_json(nullptr);
  };
  const bool any = values.count() > 0;
  return {{"p50", at(0.5)},
          {"p90", at(0.9)},
          {"p99", at(0.99)},
          {"p999", values.count() >= samples_for_p999 ? at(0.999) : ordered_json(nullptr)},
          {"max", any ? ordered_json(microseconds(values.max())) : ordered_json(nullptr)},
          {"mean", any ? ordered_json(microseconds(values.mean())) : ordered_json(nullptr)},
          {"count", values.count()}};
}

ordered_json run_json(const bench_run& run) {
  ordered_json document = {{"name", run.name},
                           {"lane", name(run.lane)},
                           {"op", run.operation},
                           {"size", run.size},
                           {"offered", run.offered ? number(*run.offered) : ordered_json(nullptr)},
                           {"achieved", number(run.achieved)},
                           {"bytes_per_s", number(run.bytes_per_second)},
                           {"lat_from", run.from_intended_time ? "intended" : "sent"},
                           {"lat_us", latency_json(run.latencies)},
                           {"errors", run.errors},
                           {"overloaded", run.overloaded()}};
  if (run.errors > 0) document["first_error"] = run.first_error;
  return document;
}

std::string latency_text(const histogram& values, double share) {
  if (values.count() == 0 || (share == 0.999 && values.count() < samples_for_p999)) return "-";
  return fmt::format("{:.1f}", microseconds(values.quantile(share)));
}

} // namespace

std::uint64_t bench_report::errors() const noexcept {
  return std::accumulate(runs.begin(), runs.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const bench_run& run) { return sum + run.errors; });
}

bool bench_report::overloaded() const noexcept {
  return std::any_of(runs.begin(), runs.end(), [](const bench_run& run) { return run.overloaded(); });
}

exit_code bench_report::ending() const noexcept {
  if (judged) return *judged;
  if (errors() > 0) return exit_code::failed;
  return overloaded() ? exit_code::inconclusive : exit_code::ok;
}

const char* bench_report::verdict() const noexcept {
  switch (ending()) {
    case exit_code::ok: return "ok";
    case exit_code::inconclusive: return "inconclusive";
    default: return "failed";
  }
}

std::string table(const bench_report& report, bool gbits) {
  std::string text =
      fmt::format("{:<16} {:<10} {:<8} {:>9} {:>10} {:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}\n", "run",
                  "lane", "op", "bytes", "offered/s", "done/s", gbits ? "-" : "GB/s", "Gb/s", "p50 us", "p90 us",
                  "p99 us", "p99.9 us", "max us", "errors");
  for (const auto& run : report.runs) {
    text += fmt::format(
        "{:<16} {:<10} {:<8} {:>9} {:>10} {:>10.1f} {:>8} {:>8.3f} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}{}\n", run.name,
        name(run.lane), run.operation, run.size, run.offered ? fmt::format("{:.0f}", *run.offered) : "-", run.achieved,
        gbits ? "-" : fmt::format("{:.3f}", run.bytes_per_second / 1e9), run.bytes_per_second * 8 / 1e9,
        latency_text(run.latencies, 0.5), latency_text(run.latencies, 0.9), latency_text(run.latencies, 0.99),
        latency_text(run.latencies, 0.999), latency_text(run.latencies, 1), run.errors,
        run.overloaded() ? "  OVERLOADED" : "");
  }
  for (const auto& run : report.runs) {
    if (run.errors > 0) text += fmt::format("{}: first error: {}\n", run.name, run.first_error);
  }
  for (const auto& note : report.notes) text += note + '\n';
  return text;
}

std::string json_document(const bench_report& report) {
  auto runs = ordered_json::array();
  for (const auto& run : report.runs) runs.push_back(run_json(run));
  ordered_json summary = {{"verdict", report.verdict()}, {"errors", report.errors()}, {"notes", report.notes}};
  for (const auto& [name, value] : report.sum) summary[name] = number(value);
  const auto here = measure_context();
  const auto known = [](const std::string& text) { return text.empty() ? ordered_json(nullptr) : ordered_json(text); };
  const ordered_json document = {{"schema", 1},
                                 {"tool", "fabric-bench"},
                                 {"version", WEFT_VERSION},
                                 {"argv", report.argv},
                                 {"context",
                                  {{"kernel", known(here.kernel)},
                                   {"cpus", here.cpus},
                                   {"governor", known(here.governor)},
                                   {"congestion_control", known(here.congestion_control)},
                                   {"load", number(here.load)}}},
                                 {"runs", std::move(runs)},
                                 {"summary", std::move(summary)}};
  return document.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

} // namespace weft::tools
