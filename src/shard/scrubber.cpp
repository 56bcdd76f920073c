#include "shard/scrubber.hpp"

#include <pthread.h>

#include <memory>

namespace weft::shards {
namespace {

constexpr std::size_t alignment = 4096; ///< what reading around the page cache asks for
constexpr std::size_t names_at_once = 256;

} // namespace

scrubber::scrubber(const file_store& store, bytes_per_second rate, std::function<void(const stored_fault&)> told,
                   duration pause)
    : store_(store), rate_(rate), told_(std::move(told)), pause_(pause), memory_(block_size + alignment),
      thread_([this] { run(); }) {
  ::pthread_setname_np(thread_.native_handle(), "weft-scrub");
}

scrubber::~scrubber() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

/// False: it is to stop.
bool scrubber::wait_until(time_point due) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_until(lock, due, [this] { return stopping_; });
}

void scrubber::run() {
  while (wait_until(clock::now() + pause_)) {
    due_ = clock::now();
    check_store();
    ++passes_;
  }
}

void scrubber::check_store() {
  std::string after;
  for (bool more = true; more;) {
    const auto page = store_.list({}, after, names_at_once);
    for (const auto& entry : page.shards) {
      if (!wait_until(clock::now())) return;
      check_shard(entry);
    }
    more = page.more;
    if (more) after = page.shards.back().name;
  }
}

void scrubber::check_shard(const shard_info& entry) {
  const auto opened = store_.open_uncached(entry.name);
  if (opened) return check_blocks(**opened);
  // Removed since it was listed is no fault, nor is what this process lacks for the moment.
  const auto what = opened.error().code();
  if (what == errc::bad_manifest || what == errc::io_error) report(entry.name, entry.version, 0, opened.error());
}

void scrubber::check_blocks(const open_shard& shard) {
  auto* place = static_cast<void*>(memory_.data());
  auto space = memory_.size();
  const std::span block(static_cast<std::byte*>(std::align(alignment, block_size, place, space)), block_size);
  const auto& known = shard.manifest();
  for (std::uint64_t i = 0; i < block_count(known.size); ++i) {
    if (!wait_until(due_)) return;
    // Once it is removed or replaced, nobody needs it to be good, and its space waits for this.
    const auto now = store_.stat(known.name);
    if (!now || now->version != known.version) return;
    if (const auto good = shard.check_block(i, block); !good) report(known.name, known.version, i, good.error());
    const auto length = std::min(block_size, known.size - i * block_size);
    bytes_ += length;
    // What was missed while the disk was slow is not caught up with.
    const auto spent = std::chrono::nanoseconds(length * 1'000'000'000 / std::max<std::uint64_t>(rate_.value(), 1));
    due_ = std::max(due_ + spent, clock::now());
  }
}

void scrubber::report(const std::string& shard, const id128& version, std::uint64_t block, const error& what) {
  told_({shard, version, block, make_error_code(what.code()), what.where()});
}

} // namespace weft::shards
