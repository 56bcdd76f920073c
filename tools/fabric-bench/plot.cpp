#include "fabric-bench/plot.hpp"

#include <weft/units.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

namespace weft::tools {
namespace {

struct point {
  double x;
  double y;
};

struct curve {
  std::string label;
  std::vector<point> points;
  bool dashed = false;
};

struct tick {
  double at;
  std::string label;
};

/// One diagram: its coordinates are those of the points, each axis linear; a logarithmic one is given logarithms.
struct diagram {
  std::string title;
  std::string x_name;
  std::string y_name;
  std::vector<tick> x_ticks = {};
  std::vector<tick> y_ticks = {};
  std::vector<curve> curves = {};
};

constexpr double width = 760;
constexpr double height = 420;
constexpr double left = 80;
constexpr double right = 200; ///< holds the legend
constexpr double top = 40;
constexpr double bottom = 60;
/// Told apart by people who see few colours too (Okabe and Ito, 2008).
constexpr const char* colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char each : text) {
    switch (each) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += each;
    }
  }
  return out;
}

/// Where a value lies between the ends of an axis, from 0 to 1.
double share(double value, const std::vector<tick>& ticks) {
  const auto least = ticks.front().at;
  const auto most = ticks.back().at;
  return most > least ? std::clamp((value - least) / (most - least), 0.0, 1.0) : 0.5;
}

std::string draw(const diagram& of, double down) {
  const auto x_of = [&](double value) { return left + share(value, of.x_ticks) * (width - left - right); };
  const auto y_of = [&](double value) {
    return down + height - bottom - share(value, of.y_ticks) * (height - top - bottom);
  };
  const auto middle = left + (width - left - right) / 2;
  auto svg = fmt::format(R"(<text x="{}" y="{}" text-anchor="middle" font-size="15">{}</text>)", middle, down + 22,
                         escaped(of.title));
  const auto floor = down + height - bottom;
  for (const auto& each : of.x_ticks) {
    svg += fmt::format(R"(<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#ddd"/>)", x_of(each.at),
                       down + top, floor);
    svg += fmt::format(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{}</text>)", x_of(each.at), floor + 18,
                       escaped(each.label));
  }
  for (const auto& each : of.y_ticks) {
    svg += fmt::format(R"(<line x1="{0}" y1="{2:.1f}" x2="{1}" y2="{2:.1f}" stroke="#ddd"/>)", left, width - right,
                       y_of(each.at));
    svg += fmt::format(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", left - 8, y_of(each.at) + 4,
                       escaped(each.label));
  }
  svg += fmt::format(R"(<text x="{}" y="{}" text-anchor="middle">{}</text>)", middle, floor + 42, escaped(of.x_name));
  svg += fmt::format(R"svg(<text x="20" y="{0}" text-anchor="middle" transform="rotate(-90 20 {0})">{1}</text>)svg",
                     down + top + (height - top - bottom) / 2, escaped(of.y_name));
  std::size_t number = 0;
  for (const auto& each : of.curves) {
    const auto* colour = colours[number % std::size(colours)];
    const bool dashed = each.dashed || number >= std::size(colours); // the colours begin anew
    const auto* dash = dashed ? R"( stroke-dasharray="6 4")" : "";
    std::string path;
    for (const auto& at : each.points) path += fmt::format("{:.1f},{:.1f} ", x_of(at.x), y_of(at.y));
    svg += fmt::format(R"(<polyline points="{}" fill="none" stroke="{}" stroke-width="2"{}/>)", path, colour, dash);
    const auto y = down + top + 10 + 20 * static_cast<double>(number++);
    svg += fmt::format(R"(<line x1="{0}" y1="{1}" x2="{2}" y2="{1}" stroke="{3}" stroke-width="2"{4}/>)",
                       width - right + 12, y, width - right + 36, colour, dash);
    svg += fmt::format(R"(<text x="{}" y="{}">{}</text>)", width - right + 42, y + 4, escaped(each.label));
  }
  return svg + '\n';
}

result<void> save(const std::string& file, const std::vector<diagram>& diagrams) {
  const auto total = height * static_cast<double>(diagrams.size());
  auto svg = fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" )"
                         R"(font-family="sans-serif" font-size="12"><rect width="{0}" height="{1}" fill="white"/>)",
                         width, total);
  for (std::size_t i = 0; i < diagrams.size(); ++i) svg += draw(diagrams[i], height * static_cast<double>(i));
  svg += "</svg>\n";
  std::FILE* const out = std::fopen(file.c_str(), "w");
  if (out == nullptr) return error{errc::io_error, fmt::format("--plot {}: cannot be written", file)};
  const bool written = std::fwrite(svg.data(), 1, svg.size(), out) == svg.size();
  if (std::fclose(out) != 0 || !written) return error{errc::io_error, fmt::format("--plot {}", file)};
  return {};
}

std::string time_text(double microseconds) {
  if (microseconds >= 1e6) return fmt::format("{:g} s", microseconds / 1e6);
  if (microseconds >= 1e3) return fmt::format("{:g} ms", microseconds / 1e3);
  return fmt::format("{:g} us", microseconds);
}

double log_of(std::chrono::nanoseconds value) {
  return std::log10(std::max(static_cast<double>(value.count()), 1.0) / 1000);
}

/// 1, 2, 5, 10, 20, ... around all values, which are logarithms of microseconds.
std::vector<tick> time_ticks(const std::vector<curve>& curves, double point::*of) {
  double least = 1e9;
  double most = -1e9;
  for (const auto& each : curves) {
    for (const auto& at : each.points) {
      least = std::min(least, at.*of);
      most = std::max(most, at.*of);
    }
  }
  std::vector<tick> ticks;
  for (double decade = std::floor(least); decade <= most; ++decade) {
    for (const double step : {1.0, 2.0, 5.0}) {
      const auto at = decade + std::log10(step);
      const auto next = decade + std::log10(step == 5.0 ? 10.0 : step == 2.0 ? 5.0 : 2.0);
      const bool behind = !ticks.empty() && ticks.back().at >= most;
      if (next <= least || behind) continue;
      ticks.push_back({at, time_text(std::pow(10, decade) * step)});
    }
  }
  if (ticks.back().at < most) ticks.push_back({std::ceil(most), time_text(std::pow(10, std::ceil(most)))});
  return ticks;
}

std::string size_text(double power) {
  return to_string(byte_count{std::uint64_t{1} << static_cast<unsigned>(power)});
}

/// Powers of two around all values, which are logarithms of sizes.
std::vector<tick> size_ticks(const std::vector<curve>& curves) {
  double least = 64;
  double most = 0;
  for (const auto& each : curves) {
    for (const auto& at : each.points) {
      least = std::min(least, std::floor(at.x));
      most = std::max(most, std::ceil(at.x));
    }
  }
  std::vector<tick> ticks;
  const auto step = most - least > 8 ? 2.0 : 1.0;
  for (auto at = least; at <= most; at += step) ticks.push_back({at, size_text(at)});
  if (ticks.back().at < most) ticks.push_back({most, size_text(most)});
  return ticks;
}

std::vector<tick> rate_ticks(const std::vector<curve>& curves) {
  double most = 0;
  for (const auto& each : curves) {
    for (const auto& at : each.points) most = std::max(most, at.y);
  }
  auto step = std::pow(10, std::floor(std::log10(std::max(most, 1e-6))));
  if (most / step < 3) step /= 2;
  std::vector<tick> ticks;
  for (double at = 0; ticks.empty() || ticks.back().at < most; at += step)
    ticks.push_back({at, fmt::format("{:g}", at)});
  return ticks;
}

curve latency_curve(const bench_run& run) {
  curve made{.label = fmt::format("{} {} {}", run.name, run.operation, to_string(byte_count{run.size})), .points = {}};
  const auto samples = static_cast<double>(run.latencies.count());
  // An axis of nines: 90% at 1, 99% at 2.
  const auto last = std::max(std::log10(samples / 10), 0.0);
  constexpr int steps = 200;
  for (int i = 0; i <= steps; ++i) {
    const auto nines = last * i / steps;
    made.points.push_back({log_of(run.latencies.quantile(1 - std::pow(10, -nines))), nines});
  }
  return made;
}

} // namespace

result<void> plot_latencies(const std::string& file, const bench_report& report) {
  diagram made{.title = "Latency that a share of the operations did not exceed",
               .x_name = "latency (logarithmic)",
               .y_name = "share of operations"};
  for (const auto& run : report.runs) {
    if (run.latencies.count() > 0) made.curves.push_back(latency_curve(run));
  }
  if (made.curves.empty()) return {}; // whatever failed is told already
  made.x_ticks = time_ticks(made.curves, &point::x);
  double most = 1;
  for (const auto& each : made.curves) most = std::max(most, std::ceil(each.points.back().y));
  constexpr const char* nines[] = {"0%", "90%", "99%", "99.9%", "99.99%", "99.999%", "99.9999%"};
  for (std::size_t i = 0; i <= static_cast<std::size_t>(most) && i < std::size(nines); ++i) {
    made.y_ticks.push_back({static_cast<double>(i), nines[i]});
  }
  return save(file, {made});
}

result<void> plot_sizes(const std::string& file, const bench_report& report) {
  diagram bandwidth{.title = "Bandwidth", .x_name = "bytes of an operation (logarithmic)", .y_name = "GB/s"};
  diagram latency{.title = "Round trip of requests",
                  .x_name = "bytes of a request and of its answer (logarithmic)",
                  .y_name = "latency (logarithmic)"};
  std::map<std::string, curve> rates;
  curve median{.label = "p50", .points = {}};
  curve tail{.label = "p99", .points = {}, .dashed = true};
  for (const auto& run : report.runs) {
    const auto x = std::log2(std::max(static_cast<double>(run.size), 1.0));
    if (run.operation != "request") {
      rates[run.operation].points.push_back({x, run.bytes_per_second / 1e9});
    } else if (run.latencies.count() > 0) {
      median.points.push_back({x, log_of(run.latencies.quantile(0.5))});
      tail.points.push_back({x, log_of(run.latencies.quantile(0.99))});
    }
  }
  for (auto& [operation, made] : rates) {
    made.label = operation;
    bandwidth.curves.push_back(std::move(made));
  }
  if (!median.points.empty()) latency.curves = {median, tail};
  std::vector<diagram> diagrams;
  if (!bandwidth.curves.empty()) {
    bandwidth.x_ticks = size_ticks(bandwidth.curves);
    bandwidth.y_ticks = rate_ticks(bandwidth.curves);
    diagrams.push_back(std::move(bandwidth));
  }
  if (!latency.curves.empty()) {
    latency.x_ticks = size_ticks(latency.curves);
    latency.y_ticks = time_ticks(latency.curves, &point::y);
    diagrams.push_back(std::move(latency));
  }
  if (diagrams.empty()) return {};
  return save(file, diagrams);
}

} // namespace weft::tools
