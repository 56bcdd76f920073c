// `fabric-bench shards`: what a trainer does to its storage. It reads every shard, sends small urgent requests
// meanwhile, then writes a checkpoint and reads it back.
#include "common/url.hpp"
#include "fabric-bench/bench.hpp"
#include "fabric-bench/pattern.hpp"
#include "fabric-bench/shard_prefetch.hpp"

#include <weft/shard_client.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <random>

namespace weft::tools {
namespace {

constexpr std::uint64_t request_size = 4 << 10;
constexpr std::uint64_t buffers_of_window = 8;
constexpr std::uint64_t block = 64 << 10;
constexpr const char* checkpoint_name = "fabric-bench/checkpoint";

class trainer {
public:
  trainer(const bench_arguments& arguments, interrupt& signals, bench_report& report, fabric& on, shard_url url)
      : arguments_(arguments), signals_(signals), report_(report), on_(on), url_(std::move(url)),
        shards_(on, url_.replicas), bulk_(arguments.common.lane.value_or(lane::bulk)) {}

  [[nodiscard]] result<void> run() {
    if (const auto listed = list_shards(); !listed) return listed.error();
    if (const auto started = start_requests(); !started) return started.error();
    auto worked = fetch_all();
    if (worked && arguments_.checkpoint > 0) worked = write_checkpoint();
    // Whatever became of the work, the requests are ended and told.
    const auto requests = end_requests();
    if (!worked) return worked.error();
    if (!requests) return requests.error();
    sum_up();
    return {};
  }

private:
  using clock = std::chrono::steady_clock;

  [[nodiscard]] error failed(error_code code, std::string_view where) const {
    return {to_errc(code), where.empty() ? url_.text() : std::string{where}};
  }

  result<void> list_shards() {
    std::string after;
    while (true) {
      pending<shard_page> listing;
      shards_.list(url_.name, after, 1000, listing.handler());
      auto listed = listing.get(signals_);
      if (listed.code) return failed(listed.code, {});
      auto& found = listed.value.shards;
      const bool more = listed.value.more && !found.empty();
      if (more) after = found.back().name;
      for (auto& shard : found) {
        if (shard.name == checkpoint_name) continue;
        total_ += shard.size;
        all_.push_back(std::move(shard));
      }
      if (!more) break;
    }
    if (all_.empty()) return error{errc::not_found, fmt::format("{}: no shards there", url_.text())};
    return {};
  }

  result<void> start_requests() {
    if (arguments_.rate <= 0) return {};
    const request_plan plan{
        .lane = lane::realtime, .size = request_size, .rate = arguments_.rate, .duration = std::chrono::hours{24}};
    for (const auto& address : url_.replicas) {
      auto to = connect(on_, address, arguments_.common, signals_);
      if (!to) return to.error();
      auto load = std::make_shared<request_load>(*to, plan);
      auto counting = load->run();
      requests_.push_back({plan, std::move(load), std::move(counting)});
    }
    return {};
  }

  result<void> fetch_all() {
    const auto part = arguments_.window / buffers_of_window / block * block;
    if (part == 0) {
      return error{errc::invalid_argument,
                   fmt::format("--window: at least {} KiB, please", buffers_of_window * block / 1024)};
    }
    const auto window = on_.allocate(byte_count{part * buffers_of_window});
    if (!window) return window.error();
    const fetch_options options{
        .lane = bulk_, .deadline = arguments_.common.deadline, .verify = arguments_.common.verify};
    auto fetching = std::make_shared<shard_prefetch>(shards_, all_, *window, part, options, on_.executor(bulk_))->run();
    auto counted = wait_for(fetching, signals_);
    if (!counted) return error{errc::cancelled, "fetching shards"};

    bench_run run{.name = "fetch", .lane = bulk_, .operation = "fetch", .size = part};
    add_rates(run, counted->parts, counted->bytes, counted->elapsed);
    run.latencies = counted->latencies;
    run.errors = counted->errors;
    run.first_error = counted->first_error;
    report_.runs.push_back(std::move(run));
    moved_ = counted->moved;
    verified_ += counted->bytes;
    checked_ = checked_ && counted->checked;
    return {};
  }

  result<void> write_checkpoint() {
    const auto size = arguments_.checkpoint;
    const auto memory = on_.allocate(byte_count{size});
    if (!memory) return memory.error();
    const auto seed = std::random_device{}();
    fill_pattern(memory->bytes(), seed);
    report_.sum.emplace_back("checkpoint_seed", seed);
    // The default deadline is made for shards; a checkpoint gets another second for each 10 MB.
    const auto deadline = arguments_.common.deadline.value_or(std::chrono::seconds{30 + size / 10'000'000});

    auto begin = clock::now();
    pending<put_result> putting;
    shards_.put(checkpoint_name, *memory, {.lane = bulk_, .deadline = deadline}, putting.handler());
    const auto stored = putting.get(signals_);
    if (stored.code) return failed(stored.code, stored.value.where);
    add_row("checkpoint put", "put", size, clock::now() - begin);

    std::fill(memory->bytes().begin(), memory->bytes().end(), std::byte{0});
    begin = clock::now();
    pending<fetch_result> fetching;
    const fetch_options options{
        .lane = bulk_, .deadline = deadline, .verify = arguments_.common.verify, .version = stored.value.version};
    shards_.fetch(checkpoint_name, memory->all(), options, fetching.handler());
    const auto fetched = fetching.get(signals_);
    if (fetched.code) return failed(fetched.code, fetched.value.where);
    add_row("checkpoint get", "fetch", size, clock::now() - begin);
    if (!has_pattern(memory->bytes(), seed)) {
      return error{errc::checksum_mismatch, fmt::format("{}: what was read is not what was written", checkpoint_name)};
    }
    verified_ += fetched.value.bytes;
    checked_ = checked_ && fetched.value.verified == verify_mode::slice;
    return {};
  }

  result<void> end_requests() {
    for (const auto& one : requests_) one.load->stop();
    for (std::size_t i = 0; i < requests_.size(); ++i) {
      auto counted = wait_for(requests_[i].counting, signals_);
      if (!counted) return error{errc::cancelled, "waiting for answers"};
      report_.runs.push_back(row_of(fmt::format("requests {}", i + 1), requests_[i].plan, std::move(*counted)));
    }
    return {};
  }

  static void add_rates(bench_run& run, std::uint64_t operations, std::uint64_t bytes, std::chrono::nanoseconds took) {
    const auto seconds = std::chrono::duration<double>(took).count();
    if (seconds <= 0) return;
    run.achieved = static_cast<double>(operations) / seconds;
    run.bytes_per_second = static_cast<double>(bytes) / seconds;
  }

  void add_row(std::string name, std::string operation, std::uint64_t size, std::chrono::nanoseconds took) {
    bench_run run{.name = std::move(name), .lane = bulk_, .operation = std::move(operation), .size = size};
    add_rates(run, 1, size, took);
    run.latencies.record(took);
    report_.runs.push_back(std::move(run));
  }

  void sum_up() {
    const auto expected = total_ + arguments_.checkpoint;
    const auto counted = on_.snapshot();
    const bool all = verified_ == expected && checked_;
    report_.sum.emplace_back("shards", static_cast<double>(all_.size()));
    report_.sum.emplace_back("bytes", static_cast<double>(expected));
    report_.sum.emplace_back("bytes_verified", static_cast<double>(verified_));
    report_.sum.emplace_back("slices_verified", static_cast<double>(counted.slices_verified));
    report_.sum.emplace_back("slices_resent", static_cast<double>(counted.slices_resent));
    report_.sum.emplace_back("chunks_moved", static_cast<double>(moved_));
    report_.notes.push_back(fmt::format("{} shards, {} bytes read, {} verified{}; {} slices verified, {} refused, {} "
                                        "chunks moved to another replica, {} errors",
                                        all_.size(), expected, verified_,
                                        checked_ ? "" : " by the wire's own checks only", counted.slices_verified,
                                        counted.slices_refused, moved_, report_.errors()));
    if (!all && report_.errors() == 0 && checked_) {
      report_.runs.front().errors = 1;
      report_.runs.front().first_error = "fewer bytes were verified than the shards have";
    }
  }

  struct request_stream {
    request_plan plan;
    std::shared_ptr<request_load> load;
    std::future<request_count> counting;
  };

  const bench_arguments& arguments_;
  interrupt& signals_;
  bench_report& report_;
  fabric& on_;
  shard_url url_;
  shard_client shards_;
  lane bulk_;
  std::vector<shard_info> all_;
  std::uint64_t total_ = 0;
  std::uint64_t verified_ = 0;
  std::uint64_t moved_ = 0;
  bool checked_ = true;
  std::vector<request_stream> requests_;
};

/// All URLs together name one group of replicas; a prefix of shard names may stand in any of them.
result<shard_url> replicas_of(const std::vector<std::string>& texts) {
  shard_url all;
  if (texts.empty()) return error{errc::invalid_url, "shards: no URL given"};
  for (const auto& text : texts) {
    auto url = parse_url(text);
    if (!url) return url.error();
    if (!url->name.empty()) all.name = url->name;
    for (auto& address : url->replicas) {
      if (std::find(all.replicas.begin(), all.replicas.end(), address) == all.replicas.end()) {
        all.replicas.push_back(std::move(address));
      }
    }
  }
  return all;
}

} // namespace

result<void> bench_shards(const bench_arguments& arguments, interrupt& signals, bench_report& report) {
  auto url = replicas_of(arguments.urls);
  if (!url) return url.error();
  auto on = fabric::open(arguments.common.configuration);
  if (!on) return on.error();
  return trainer{arguments, signals, report, *on, std::move(*url)}.run();
}

} // namespace weft::tools
