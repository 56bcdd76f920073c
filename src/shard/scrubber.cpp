#include "shard/scrubber.hpp"

#include <pthread.h>

#include <memory>

namespace weft::shards {
namespace {

constexpr std::size_t alignment = 4096; ///< what reading around the page cache asks for
constexpr std::size_t names_at_once = 256;
/// Between passes, so that an empty store costs nothing.
constexpr auto pause = std::chrono::seconds(1);

} // namespace

scrubber::scrubber(const file_store& store, bytes_per_second rate, std::function<void(const stored_fault&)> told)
    : store_(store), rate_(rate), told_(std::move(told)), memory_(block_size + alignment), thread_([this] { run(); }) {
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
  due_ = clock::now();
  do {
    check_store();
    ++passes_;
  } while (wait_until(clock::now() + pause));
}

void scrubber::check_store() {
  std::string after;
  for (bool more = true; more && wait_until(clock::now());) {
    const auto page = store_.list({}, after, names_at_once);
    for (const auto& entry : page.shards) check_shard(entry);
    more = page.more && !page.shards.empty();
    if (more) after = page.shards.back().name;
  }
}

void scrubber::check_shard(const catalogue_entry& entry) {
  const auto opened = store_.open_uncached(entry.name);
  if (!opened) {
    // Removed or replaced since it was listed is no fault.
    const auto now = store_.stat(entry.name);
    if (now && now->version == entry.version) report(entry, 0, opened.error());
    return;
  }
  auto* place = static_cast<void*>(memory_.data());
  auto space = memory_.size();
  const std::span block(static_cast<std::byte*>(std::align(alignment, block_size, place, space)), block_size);
  const auto blocks = block_count((*opened)->manifest().size);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    if (!wait_until(due_)) return;
    if (const auto good = (*opened)->check_block(i, block); !good) report(entry, i, good.error());
    bytes_ += block_size;
    // What was missed while the disk was slow is not caught up with.
    const auto spent = std::chrono::nanoseconds(block_size * 1'000'000'000 / std::max<std::uint64_t>(rate_.value(), 1));
    due_ = std::max(due_ + spent, clock::now());
  }
}

void scrubber::report(const catalogue_entry& entry, std::uint64_t block, const error& what) {
  told_({entry.name, entry.version, block, make_error_code(what.code()), what.where()});
}

} // namespace weft::shards
