// What the fabrics of one host tell each other, in an entry each. Of every rail: that there is realtime traffic, how it
// fares, who carries bulk, who keeps the way empty for a moment to measure it, and how fast bulk comes in. So bulk of
// one process makes room for the realtime traffic of another. The entries may lie in memory that processes share:
// whatever stands in those of others is taken for a number and nothing else. Wait-free; its own entry is written by the
// fabric's threads, each its part.
#pragma once

#include "base/clock.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace weft::lanes {

struct alignas(64) board_entry {
  using time_cell = std::atomic<duration::rep>;
  static constexpr std::size_t most_rails = 16;

  struct alignas(64) on_rail {
    time_cell seen = 0;                   ///< when there was realtime traffic, last
    std::atomic<std::uint64_t> count = 0; ///< how often its latency was told
    time_cell told = 0;                   ///< when, last
    time_cell typical = 0;                ///< the median of the last samples
    time_cell bulk = 0;                   ///< when bulk data was sent, last
    time_cell empty_until = 0;            ///< it keeps the way empty until then

    time_cell came = 0;                     ///< when bulk data came in, last
    std::atomic<std::uint64_t> rate = 0;    ///< at which it did, bytes per second
    std::atomic<std::uint64_t> sources = 0; ///< from so many peers
    std::atomic<std::uint64_t> allowed = 0; ///< what all peers of the host may have under way to it, as this one found
  };

  std::array<on_rail, most_rails> rails{};
  std::atomic<std::uint32_t> weight = 1;

  void clear() noexcept {
    for (auto& of : rails) {
      for (auto* each : {&of.seen, &of.told, &of.typical, &of.bulk, &of.empty_until, &of.came}) *each = 0;
      for (auto* each : {&of.count, &of.rate, &of.sources, &of.allowed}) *each = 0;
    }
    weight = 1;
  }
};
static_assert(board_entry::time_cell::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

/// As it lies in memory.
struct board_page {
  static constexpr std::array<char, 8> right_magic = {'w', 'e', 'f', 't', 'p', 'a', 'g', 'e'};
  static constexpr std::uint32_t right_version = 4;
  static constexpr std::uint32_t most_entries = 64;

  std::array<char, 8> magic = right_magic;
  std::uint32_t version = right_version;
  std::uint32_t entry_size = sizeof(board_entry);
  std::atomic<std::uint32_t> used = 1; ///< entries that ever were in use, from the first on
  std::array<std::atomic<std::uint32_t>, board_entry::most_rails> interfaces{}; ///< of the rails, by the kernel's index
  std::array<board_entry, most_entries> entries{};

  /// Which rail of every entry this interface is, from now on; those that are too many for a page count as one.
  [[nodiscard]] std::size_t rail_of(std::uint32_t interface) noexcept {
    for (std::size_t i = 0; i + 1 < interfaces.size(); ++i) {
      std::uint32_t known = 0;
      if (interfaces[i].compare_exchange_strong(known, interface) || known == interface) return i;
    }
    return interfaces.size() - 1;
  }
};
static_assert(std::is_standard_layout_v<board_page>);

class host_board {
public:
  static constexpr std::uint32_t most_weight = 1000;
  static constexpr std::uint64_t most_rate = 1'250'000'000'000; ///< 10 Tb/s: no rail is faster
  static constexpr std::uint64_t most_sources = 1'000'000;
  static constexpr duration arrivals_last = std::chrono::milliseconds(200); ///< as long as what was said of them counts

  /// How long the messages of late took to arrive.
  struct latency {
    std::uint64_t count = 0; ///< how often it was told
    time_point at{};         ///< when, last
    duration typical{};      ///< the median of the last samples
  };

  /// Nobody but this fabric.
  host_board() : alone_(std::make_unique<board_page>()), page_(*alone_), own_(0), rail_(0) {}
  /// `own`: its entry. The page must outlive it.
  host_board(board_page& page, std::size_t own) noexcept : page_(page), own_(own), rail_(0) {}
  /// The same of another rail; `of` must outlive it.
  host_board(const host_board& of, std::size_t rail) noexcept : page_(of.page_), own_(of.own_), rail_(rail) {}
  host_board(const host_board&) = delete;
  host_board& operator=(const host_board&) = delete;

  /// Of every entry; any thread may ask.
  [[nodiscard]] std::size_t rail_of(std::uint32_t interface) noexcept { return page_.rail_of(interface); }

  // On the realtime thread.
  void seen(time_point now) noexcept { put(here().seen, now.time_since_epoch()); }
  /// One message took so long.
  void sample(duration lag, time_point now) noexcept {
    samples_[collected_++] = lag;
    if (collected_ < samples_.size()) return;
    collected_ = 0;
    std::sort(samples_.begin(), samples_.end());
    put(here().typical, samples_[samples_.size() / 2 - 1]); // the lower one: what delays a single one is no queue
    put(here().told, now.time_since_epoch());
    here().count.store(here().count.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  /// How far samples are to be apart: they cost a frame each.
  [[nodiscard]] duration sample_every(time_point now) noexcept {
    if (now - looked_at_ >= std::chrono::milliseconds(1)) {
      looked_at_ = now;
      const auto all = entries();
      beside_bulk_ = std::any_of(all.begin(), all.end(), [this, now](const auto& each) {
        return now - past(each.rails[rail_].bulk, now) < std::chrono::milliseconds(100);
      });
    }
    return beside_bulk_ ? std::chrono::microseconds(250) : std::chrono::milliseconds(5);
  }

  // On any other of the fabric's.
  void bulk_sent(time_point now) noexcept { put(here().bulk, now.time_since_epoch()); }
  void keep_empty(time_point until) noexcept { put(here().empty_until, until.time_since_epoch()); }
  /// Unless another thread has said so since.
  void no_longer_empty(time_point until) noexcept {
    auto said = until.time_since_epoch().count();
    here().empty_until.compare_exchange_strong(said, 0, std::memory_order_relaxed);
  }
  /// How bulk comes in.
  struct arrivals {
    std::uint64_t rate = 0; ///< bytes per second
    std::uint64_t sources = 0;
  };
  /// Of one of its threads, which said `before` last.
  void arriving(const arrivals& now_so, const arrivals& before, time_point now) noexcept {
    here().rate.fetch_add(now_so.rate - before.rate, std::memory_order_relaxed);
    here().sources.fetch_add(now_so.sources - before.sources, std::memory_order_relaxed);
    put(here().came, now.time_since_epoch());
  }
  /// What all that arrives on the rail may have under way together, as this one says it.
  void allow(std::uint64_t bytes) noexcept { here().allowed.store(bytes, std::memory_order_relaxed); }
  void weigh(std::uint32_t weight) noexcept { mine().weight.store(weight, std::memory_order_relaxed); }

  // About all of them, by any thread; on this rail. Times are never later than `now`.
  [[nodiscard]] std::size_t size() const noexcept { return entries().size(); }
  [[nodiscard]] std::size_t own() const noexcept { return own_; }
  [[nodiscard]] std::size_t rail() const noexcept { return rail_; }
  [[nodiscard]] time_point last_seen(std::size_t entry, time_point now) const noexcept {
    return past(at(entry).seen, now);
  }
  [[nodiscard]] time_point last_seen(time_point now) const noexcept {
    time_point last{};
    for (const auto& each : entries()) last = std::max(last, past(each.rails[rail_].seen, now));
    return last;
  }
  /// On whatever rail.
  [[nodiscard]] time_point last_seen_anywhere(std::size_t entry, time_point now) const noexcept {
    time_point last{};
    for (const auto& each : page_.entries[entry].rails) last = std::max(last, past(each.seen, now));
    return last;
  }
  [[nodiscard]] time_point last_seen_anywhere(time_point now) const noexcept {
    time_point last{};
    for (std::size_t i = 0; i < size(); ++i) last = std::max(last, last_seen_anywhere(i, now));
    return last;
  }
  [[nodiscard]] latency latency_of(std::size_t entry, time_point now) const noexcept {
    const auto count = at(entry).count.load(std::memory_order_acquire);
    const auto typical = std::clamp<duration>(get(at(entry).typical), duration::zero(), std::chrono::seconds(1));
    return {count, past(at(entry).told, now), typical};
  }
  [[nodiscard]] time_point bulk_was_sent(std::size_t entry, time_point now) const noexcept {
    return past(at(entry).bulk, now);
  }
  [[nodiscard]] time_point bulk_was_sent_anywhere(std::size_t entry, time_point now) const noexcept {
    time_point last{};
    for (const auto& each : page_.entries[entry].rails) last = std::max(last, past(each.bulk, now));
    return last;
  }
  /// Zero where it is too far ahead to be meant.
  [[nodiscard]] time_point empty_until(std::size_t entry, time_point now) const noexcept {
    const time_point until(get(at(entry).empty_until));
    return until > now + std::chrono::seconds(1) ? time_point{} : until;
  }
  struct all_arrivals {
    arrivals sum;
    std::size_t first = board_page::most_entries; ///< the entry that says for all what may be under way
    std::uint64_t allowed = 0;                    ///< what it says
  };
  [[nodiscard]] all_arrivals all_arriving(time_point now) const noexcept {
    all_arrivals found;
    for (std::size_t i = 0; i < size(); ++i) {
      if (now - past(at(i).came, now) >= arrivals_last) continue;
      found.sum.rate += std::min(at(i).rate.load(std::memory_order_relaxed), most_rate);
      found.sum.sources += std::min(at(i).sources.load(std::memory_order_relaxed), most_sources);
      if (found.first != board_page::most_entries) continue;
      found.first = i;
      found.allowed = at(i).allowed.load(std::memory_order_relaxed);
    }
    return found;
  }
  [[nodiscard]] std::uint32_t weight_of(std::size_t entry) const noexcept {
    return std::clamp(page_.entries[entry].weight.load(std::memory_order_relaxed), 1U, most_weight);
  }

private:
  static void put(board_entry::time_cell& to, duration value) noexcept {
    to.store(value.count(), std::memory_order_relaxed);
  }
  static duration get(const board_entry::time_cell& from) noexcept {
    return duration(from.load(std::memory_order_relaxed));
  }
  /// What lies far ahead is nobody's clock, and never was.
  static time_point past(const board_entry::time_cell& from, time_point now) noexcept {
    const time_point at(get(from));
    return at > now + std::chrono::seconds(1) || at < time_point{} ? time_point{} : std::min(at, now);
  }

  [[nodiscard]] board_entry& mine() noexcept { return page_.entries[own_]; }
  [[nodiscard]] board_entry::on_rail& here() noexcept { return mine().rails[rail_]; }
  [[nodiscard]] const board_entry::on_rail& at(std::size_t entry) const noexcept {
    return page_.entries[entry].rails[rail_];
  }
  [[nodiscard]] std::span<const board_entry> entries() const noexcept {
    const auto used = page_.used.load(std::memory_order_relaxed);
    return std::span(page_.entries).first(std::clamp<std::size_t>(used, own_ + 1, board_page::most_entries));
  }

  std::unique_ptr<board_page> alone_;
  board_page& page_;
  const std::size_t own_;
  const std::size_t rail_;

  // The realtime thread's.
  std::array<duration, 4> samples_{};
  std::size_t collected_ = 0;
  time_point looked_at_{};
  bool beside_bulk_ = false;
};

} // namespace weft::lanes
