// `fabric-bench compare`: two documents of --json side by side, and conditions on what changed.
#include "fabric-bench/bench.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <fstream>

namespace weft::tools {
namespace {

using nlohmann::json;

/// The figures of a run that can be compared, by their names in conditions.
struct figure {
  const char* name;
  const char* pointer;
};
constexpr figure figures[] = {{"p50", "/lat_us/p50"},   {"p90", "/lat_us/p90"},         {"p99", "/lat_us/p99"},
                              {"p999", "/lat_us/p999"}, {"max", "/lat_us/max"},         {"mean", "/lat_us/mean"},
                              {"rate", "/achieved"},    {"bytes_per_s", "/bytes_per_s"}};

/// "lat.p99>1.1x": a figure of B against that of A, or against a number.
struct condition {
  std::string text;
  std::string run;
  figure what{};
  bool above = false;
  double limit = 0;
  bool relative = false;
};

struct pair {
  std::string name; ///< of the run
  std::string label;
  const json* a;
  const json* b; ///< null: the other document has no such run
};

std::string text_of(const json& run, const char* member) {
  return run.is_object() && run.contains(member) && run[member].is_string() ? run[member].get<std::string>() : "";
}

/// The runs of a document.
result<std::vector<json>> read_runs(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return error{errc::invalid_argument, fmt::format("{}: cannot be read", path)};
  auto document = json::parse(file, nullptr, false);
  const bool ours = text_of(document, "tool") == "fabric-bench" && document.contains("schema") &&
                    document["schema"] == 1 && document.contains("runs") && document["runs"].is_array();
  if (!ours) return error{errc::invalid_argument, fmt::format("{}: is no document of fabric-bench --json", path)};
  return document["runs"].get<std::vector<json>>();
}

std::string label_of(const json& run) {
  const auto size = run.is_object() && run.contains("size") && run["size"].is_number_unsigned()
                        ? run["size"].get<std::uint64_t>()
                        : 0;
  return fmt::format("{} {} {} {}", text_of(run, "name"), text_of(run, "lane"), text_of(run, "op"), size);
}

double value_of(const json* run, const figure& of) {
  const json::json_pointer at(of.pointer);
  return run != nullptr && run->contains(at) && (*run)[at].is_number() ? (*run)[at].get<double>() : NAN;
}

/// The runs of A, each with that of B: of the same name, lane, operation and size, in the same place among those.
std::vector<pair> pairs_of(const std::vector<json>& a, const std::vector<json>& b) {
  std::vector<pair> pairs;
  std::vector<const json*> left;
  for (const auto& run : b) left.push_back(&run);
  for (const auto& run : a) {
    const auto same =
        std::find_if(left.begin(), left.end(), [&](const json* other) { return label_of(*other) == label_of(run); });
    pairs.push_back({text_of(run, "name"), label_of(run), &run, same == left.end() ? nullptr : *same});
    if (same != left.end()) left.erase(same);
  }
  return pairs;
}

result<condition> read_condition(const std::string& text) {
  const auto bad = [&text](const char* what) {
    return error{errc::invalid_argument, fmt::format("--fail-if {}: {}", text, what)};
  };
  condition read;
  read.text = text;
  const auto dot = text.find('.');
  const auto sign = text.find_first_of("<>");
  if (dot == text.npos || sign == text.npos || sign < dot) return bad("it needs the form RUN.FIGURE>NUMBER or <NUMBER");
  read.run = text.substr(0, dot);
  read.above = text[sign] == '>';
  const auto name = text.substr(dot + 1, sign - dot - 1);
  const auto* found =
      std::find_if(std::begin(figures), std::end(figures), [&](const figure& each) { return name == each.name; });
  if (found == std::end(figures)) return bad("the figures are p50, p90, p99, p999, max, mean, rate, bytes_per_s");
  read.what = *found;
  auto number = std::string_view(text).substr(sign + 1);
  read.relative = number.ends_with('x');
  if (read.relative) number.remove_suffix(1);
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), read.limit);
  if (failure != std::errc{} || end != number.data() + number.size()) return bad("behind the sign stands no number");
  return read;
}

/// Tells of each run that the condition is about. Errors: invalid_argument when there is none, or when B does not have
/// what A has: a run that failed must not pass for one that got no worse.
result<bool> holds(const condition& tested, const std::vector<pair>& pairs) {
  bool any = false;
  bool held = false;
  for (const auto& each : pairs) {
    if (each.name != tested.run) continue;
    const auto a = value_of(each.a, tested.what);
    const auto b = value_of(each.b, tested.what);
    if (!std::isfinite(a)) continue;
    if (!std::isfinite(b)) {
      return error{errc::invalid_argument,
                   fmt::format("--fail-if {}: the second document has no such figure for {}", tested.text, each.label)};
    }
    const auto value = tested.relative ? b / a : b;
    any = true;
    if (tested.above ? value <= tested.limit : value >= tested.limit) continue;
    held = true;
    fmt::print("FAIL: {} holds for {}: {:.6g}{}\n", tested.text, each.label, value, tested.relative ? "x" : "");
  }
  if (any) return held;
  return error{errc::invalid_argument,
               fmt::format("--fail-if {}: the first document has no run with this figure", tested.text)};
}

std::string ratio_text(const pair& of, const figure& what, double scale) {
  const auto a = value_of(of.a, what);
  const auto b = value_of(of.b, what);
  if (!std::isfinite(a) || !std::isfinite(b)) return fmt::format("{:>28}", "-");
  return fmt::format("{:>10.3f} {:>10.3f} {:>6}", a * scale, b * scale, a > 0 ? fmt::format("{:.3f}x", b / a) : "-");
}

} // namespace

result<std::vector<std::string>> bench_compare(const bench_arguments& arguments) {
  std::vector<condition> conditions;
  for (const auto& text : arguments.fail_if) {
    auto read = read_condition(text);
    if (!read) return read.error();
    conditions.push_back(std::move(*read));
  }
  const auto a = read_runs(arguments.documents[0]);
  if (!a) return a.error();
  const auto b = read_runs(arguments.documents[1]);
  if (!b) return b.error();
  const auto pairs = pairs_of(*a, *b);
  if (std::none_of(pairs.begin(), pairs.end(), [](const pair& each) { return each.b != nullptr; })) {
    return error{errc::invalid_argument, "the documents have no run in common"};
  }
  fmt::print("{:<36} {:>28} {:>28} {:>28}\n", "run (name, lane, op, bytes)", "GB/s: A, B, B/A", "p50 us: A, B, B/A",
             "p99 us: A, B, B/A");
  for (const auto& each : pairs) {
    fmt::print("{:<36} {} {} {}\n", each.label, ratio_text(each, {"", "/bytes_per_s"}, 1e-9),
               ratio_text(each, {"", "/lat_us/p50"}, 1), ratio_text(each, {"", "/lat_us/p99"}, 1));
  }
  std::vector<std::string> holding;
  for (const auto& each : conditions) {
    const auto held = holds(each, pairs);
    if (!held) return held.error();
    if (*held) holding.push_back(each.text);
  }
  return holding;
}

} // namespace weft::tools
