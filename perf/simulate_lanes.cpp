// A cluster of 64 trainers and 16 storage nodes in virtual time (tests/lane/cluster.hpp), load by load: a JSON document
// of what realtime requests took, alone and beside bulk data, and how much of the narrow links bulk used. The same
// numbers on every machine. Usage: simulate-lanes GBITS...
#include "../tests/lane/cluster.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <functional>
#include <iostream>
#include <numeric>
#include <string>

using namespace weft;
using namespace weft::tests;
using namespace std::chrono_literals;
using json = nlohmann::ordered_json;

namespace {

constexpr std::size_t storage_count = 16;
constexpr std::size_t trainer_count = 64;
constexpr double requests_per_second = 2000;

/// Node numbers: storage first.
std::vector<std::size_t> storage() {
  std::vector<std::size_t> all(storage_count);
  std::iota(all.begin(), all.end(), std::size_t{0});
  return all;
}
std::vector<std::size_t> trainers() {
  std::vector<std::size_t> all(trainer_count);
  std::iota(all.begin(), all.end(), storage_count);
  return all;
}

struct load {
  const char* name;
  std::function<void(cluster& on)> realtime;
  std::function<void(cluster& on)> bulk;
  std::function<double(const cluster& on)> used; ///< of the links that are the narrow place
  double slow_trainer = 1;                       ///< rate of the first trainer, in that of the others
  bool realtime_first = false;
};

/// Of every storage node by a trainer of its own, not the first.
void ask_storage(cluster& on) {
  for (const auto each : storage()) on.ask(storage_count + 1 + each * 3, each, requests_per_second);
}

void read_all(cluster& on) {
  for (const auto each : trainers()) on.pull(each, storage(), 8);
}

double used_out_of_storage(const cluster& on) {
  double sum = 0;
  for (const auto each : storage()) sum += on.used_out(each);
  return sum / storage_count;
}

double used_into_storage(const cluster& on) {
  double sum = 0;
  for (const auto each : storage()) sum += on.used_in(each);
  return sum / storage_count;
}

const std::vector<load>& loads() {
  static const std::vector<load> all = {
      {"64 trainers read from 16 nodes", ask_storage, read_all, used_out_of_storage},
      {"those reads, with a priority class", ask_storage, read_all, used_out_of_storage, 1, true},
      {"those reads, one trainer with a tenth of the rate", ask_storage, read_all, used_out_of_storage, 0.1},
      {"those reads, one trainer that tells of no landing", ask_storage,
       [](cluster& on) {
         on.tells_nothing(storage_count);
         read_all(on);
       },
       used_out_of_storage},
      {"64 trainers write to 16 nodes", ask_storage,
       [](cluster& on) {
         for (const auto each : storage()) on.pull(each, trainers(), 32);
       },
       used_into_storage},
      {"16 nodes send to one trainer",
       [](cluster& on) {
         for (const auto each : {1, 2, 3, 4})
           on.ask(storage_count + static_cast<std::size_t>(each), storage_count, 500);
       },
       [](cluster& on) { on.pull(storage_count, storage(), 64); },
       [](const cluster& on) { return on.used_in(storage_count); }},
  };
  return all;
}

json latencies_of(const cluster& on) {
  json points = json::array();
  for (const auto share : {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999}) {
    points.push_back({share, static_cast<double>(on.latencies().quantile(share).count()) / 1e3});
  }
  return points;
}

json simulate(const load& what, double gbits) {
  json run = {{"load", what.name}, {"gbits", gbits}};
  for (const bool mixed : {false, true}) {
    cluster_options options;
    options.realtime_first = what.realtime_first;
    options.gbits.assign(storage_count + trainer_count, gbits);
    options.gbits[storage_count] = gbits * what.slow_trainer;
    cluster on(options);
    what.realtime(on);
    if (mixed) what.bulk(on);
    on.run(600ms); // to learn
    on.run(100ms);
    const auto p99 = static_cast<double>(on.latencies().quantile(0.99).count()) / 1e3;
    const auto p50 = static_cast<double>(on.latencies().quantile(0.5).count()) / 1e3;
    run[mixed ? "mixed" : "idle"] = {{"p50_us", p50}, {"p99_us", p99}, {"points", latencies_of(on)}};
    if (mixed) run["used"] = what.used(on);
  }
  return run;
}

} // namespace

int main(int count, char** arguments) {
  json runs = json::array();
  for (int i = 1; i < count; ++i) {
    for (const auto& each : loads()) runs.push_back(simulate(each, std::atof(arguments[i])));
  }
  std::cout << runs.dump() << '\n';
}
