// Puts: begin, chunks, commit. What a peer began and did not finish is dropped when its link has ended.
#include "fabric/link_core.hpp"
#include "shard/server.hpp"

#include <fmt/format.h>

namespace weft::shards {
namespace {

/// Of one peer: each holds a descriptor and the disk space of its shard.
constexpr std::ptrdiff_t most_open_puts = 64;

error not_open(const command& asked) {
  return {errc::not_found, fmt::format("put {} is not open", asked.number)};
}

} // namespace

void server_core::put_begin(const fabrics::call& begun, const command& asked) {
  auto opened = std::make_shared<open_put>();
  opened->owner = begun.link();
  {
    const std::lock_guard lock(puts_mutex_);
    const auto* peer = begun.link().get();
    const auto open = std::distance(puts_.lower_bound({peer, 0}), puts_.upper_bound({peer, ~std::uint64_t{0}}));
    if (open >= most_open_puts) {
      return begun.fail(error(errc::limit_exceeded, fmt::format("{} puts of this peer are open", open)));
    }
    if (!puts_.emplace(std::pair(begun.link().get(), asked.number), opened).second) {
      return begun.fail(error(errc::protocol_error, fmt::format("put {} is open already", asked.number)));
    }
  }
  on_disk(begun, [begun, asked, opened](server_core& self) { self.open_on_disk(begun, asked, opened); });
}

void server_core::open_on_disk(const fabrics::call& begun, const command& asked,
                               const std::shared_ptr<open_put>& opened) {
  // A link that ended before this put was listed has told so already.
  if (!begun.link()->alive()) return drop_lost_puts();
  auto put = store_->begin_put(asked.name, asked.version, asked.offset);
  if (!put) {
    std::ignore = take_put(begun, asked);
    return begun.fail(put.error());
  }
  const bool there = (*put)->already_there();
  opened->put = std::move(*put);
  opened->ready = true;
  begun.succeed(encode(answer{.version = asked.version, .size = there ? 1U : 0U}));
}

/// Under the lock that a commit takes the put with: it sees the claim, or the claim not it. Errors: not_found for a put
/// that is not open, or not open yet, as no honest peer asks so soon; invalid_argument for blocks that another chunk or
/// comparison of the peer works on.
result<std::shared_ptr<claimed_blocks>> server_core::claim(const fabrics::call& begun, const command& asked,
                                                           const block_span& blocks) const {
  const std::lock_guard lock(puts_mutex_);
  const auto found = puts_.find({begun.link().get(), asked.number});
  if (found == puts_.end() || !found->second->ready) return not_open(asked);
  if (auto claimed = claimed_blocks::claim(found->second, blocks)) return claimed;
  return error(errc::invalid_argument, fmt::format("put {}: some of {} blocks from block {} on are under way already",
                                                   asked.number, blocks.end - blocks.first, blocks.first));
}

/// Takes it off the list, open or not.
std::shared_ptr<open_put> server_core::take_put(const fabrics::call& begun, const command& asked) {
  const std::lock_guard lock(puts_mutex_);
  auto taken = puts_.extract({begun.link().get(), asked.number});
  return taken.empty() ? nullptr : std::move(taken.mapped());
}

void server_core::drop_lost_puts() {
  std::vector<std::shared_ptr<open_put>> lost; // destroyed outside the lock: that removes files
  const std::lock_guard lock(puts_mutex_);
  for (auto at = puts_.begin(); at != puts_.end();) {
    if (at->second->owner->alive()) {
      ++at;
    } else {
      lost.push_back(std::move(at->second));
      at = puts_.erase(at);
    }
  }
}

void server_core::put_chunk(const fabrics::call& begun, const command& asked) {
  const auto length = begun.terms().length;
  if (length == 0 || length > write_pool_->most()) {
    return begun.fail(error(errc::too_large, fmt::format("a chunk of {} bytes; this server takes at most {}", length,
                                                         write_pool_->most())));
  }
  // Claimed from here on: a commit that overtakes a chunk is refused, not answered with half a shard.
  const auto first = asked.offset / block_size;
  const auto claimed = claim(begun, asked, {first, first + block_count(length)});
  if (!claimed) return begun.fail(claimed.error());
  write_pool_->acquire(begun.side(), length, [self = shared_from_this(), begun, asked, blocks = *claimed](auto lease) {
    auto pieces = lease->pieces(0, begun.terms().length);
    pieces.keep(lease);
    begun.accept(std::move(pieces), fabrics::on_end([self, begun, asked, blocks, lease](links::outcome&& ended) {
                   if (ended.code) return begun.fail(error(to_errc(ended.code), std::move(ended.where)));
                   self->on_disk(begun, [begun, asked, blocks, lease](server_core& server) {
                     server.store_chunk(begun, asked, *blocks, lease);
                   });
                 }));
  });
}

void server_core::store_chunk(const fabrics::call& begun, const command& asked, claimed_blocks& blocks,
                              const std::shared_ptr<memory::buffer_pool::lease>& lease) {
  const auto open = blocks.put();
  if (!open) return begun.fail(not_open(asked));
  const auto length = begun.terms().length;
  if (asked.crcs.size() != block_count(length)) {
    return begun.fail(error(errc::protocol_error, "a chunk without one CRC for each of its blocks"));
  }
  result<void> stored;
  std::uint64_t at = 0;
  lease->pieces(0, length).for_each(0, length, [&](std::span<const std::byte> part) {
    if (!stored) return;
    const auto crcs = std::span(asked.crcs).subspan(at / block_size, block_count(part.size()));
    stored = open->put->write(asked.offset + at, part, crcs);
    at += part.size();
  });
  blocks.landed();
  if (!stored) return begun.fail(stored.error());
  bytes_stored_ += length;
  begun.succeed({});
}

void server_core::put_compare(const fabrics::call& begun, const command& asked) {
  const auto claimed = claim(begun, asked, {asked.offset, asked.offset + asked.crcs.size()});
  if (!claimed) return begun.fail(claimed.error());
  const auto open = (*claimed)->put();
  if (!open) return begun.fail(not_open(asked));
  const auto same = open->put->compare(asked.offset, asked.crcs);
  (*claimed)->landed();
  same ? begun.succeed({}) : begun.fail(same.error());
}

void server_core::put_commit(const fabrics::call& begun, const command& asked) {
  const auto put = take_put(begun, asked);
  if (!put || !put->ready) return begun.fail(not_open(asked));
  if (!put->claims->empty()) return begun.fail(error(errc::invalid_argument, "commit before all chunks were answered"));
  const auto committed = put->put->commit();
  if (!committed) return begun.fail(committed.error());
  ++puts_committed_;
  begun.succeed({});
}

/// At once, so that it counts even before the put's own begin has come to the disk; the files go there.
void server_core::put_abandon(const fabrics::call& begun, const command& asked) {
  if (const auto queued = queue_abandon(begun, asked); !queued) begun.fail(queued.error());
}

/// Taken off the list and queued as one step: stop() finds it in one of the two. Errors: not_found, peer_closed.
result<void> server_core::queue_abandon(const fabrics::call& begun, const command& asked) {
  const std::lock_guard lock(disk_mutex_);
  if (stopped_) return server_is_closed();
  auto put = take_put(begun, asked);
  if (!put) return not_open(asked);
  queue([begun, put = std::move(put)](server_core&) mutable {
    put.reset();
    begun.succeed({});
  });
  return {};
}

} // namespace weft::shards
