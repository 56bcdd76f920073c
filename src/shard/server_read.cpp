// Reads: pool memory first, then the disk, then the slices with the CRCs that the putting client computed.
#include "fabric/link_core.hpp"
#include "shard/server.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weft::shards {

void server_core::read(const fabrics::call& begun, const command& asked) {
  const auto length = begun.terms().length;
  // Ragged ends are read with their whole blocks. No overflow: the engine bounds the length of what it takes.
  const auto needed = block_count(asked.offset % block_size + length) * block_size;
  if (length == 0 || needed > read_pool_->most()) {
    return begun.fail(
        error(errc::too_large, fmt::format("a read of {} bytes; this server lends at most {} at once, in whole blocks",
                                           length, read_pool_->most())));
  }
  read_pool_->acquire(begun.side(), needed, [self = shared_from_this(), begun, asked](auto lease) {
    self->on_disk(begun, [begun, asked, lease = std::move(lease)](server_core& server) mutable {
      server.read_into(begun, asked, std::move(lease));
    });
  });
}

void server_core::read_into(const fabrics::call& begun, const command& asked,
                            std::shared_ptr<memory::buffer_pool::lease> lease) {
  if (!begun.link()->alive()) return; // nobody waits for what the disk would have to be read for
  const auto shard = store_->open_shard(asked.name, asked.wanted_version());
  if (!shard) return begun.fail(shard.error());
  const auto& known = (*shard)->manifest();
  const auto length = begun.terms().length;
  if (asked.offset > known.size || length > known.size - asked.offset) {
    return begun.fail(error(errc::out_of_region, fmt::format("bytes {} to {} of shard '{}', which has {}", asked.offset,
                                                             asked.offset + length, known.name, known.size)));
  }
  const bool whole_blocks = known.covers_blocks(asked.offset, length) && begun.terms().slice_size % block_size == 0;
  // Ragged ends with the whole of their blocks.
  const auto begin = asked.offset / block_size * block_size;
  const auto end = std::min(known.size, block_count(asked.offset + length) * block_size);
  const auto all = lease->pieces(0, end - begin);
  result<void> outcome;
  auto at = begin;
  all.for_each(0, all.length(), [&](std::span<std::byte> part) {
    if (outcome) outcome = (*shard)->read(at, part);
    // Slices that are not of whole blocks cannot have stored CRCs: this server checks the blocks in their place.
    for (std::size_t in = 0; outcome && !whole_blocks && in < part.size(); in += block_size) {
      const auto block = part.subspan(in, std::min<std::size_t>(block_size, part.size() - in));
      outcome = known.check_block((at + in) / block_size, block);
      if (!outcome) ++bad_blocks_;
    }
    at += part.size();
  });
  if (!outcome) return begun.fail(outcome.error());
  auto pieces = lease->pieces(asked.offset - begin, length);
  pieces.keep(std::move(lease));
  send(begun, *shard, asked, std::move(pieces), whole_blocks);
}

void server_core::send(const fabrics::call& begun, const std::shared_ptr<open_shard>& shard, const command& asked,
                       memory::piece_list pieces, bool whole_blocks) {
  const auto length = begun.terms().length;
  auto crcs = whole_blocks ? shard->manifest().slice_crcs(asked.offset, length, begun.terms().slice_size)
                           : std::vector<std::uint32_t>{};
  begun.supply(
      std::move(pieces), std::move(crcs),
      fabrics::on_end([self = shared_from_this(), begun, shard, offset = asked.offset](links::outcome&& ended) {
        if (!ended.code) {
          self->bytes_served_ += ended.bytes;
        } else if (ended.code == errc::checksum_mismatch) {
          self->on_disk(begun,
                        [begun, shard, offset](server_core& server) { server.explain_mismatch(begun, shard, offset); });
        } else {
          begun.fail(error(to_errc(ended.code), std::move(ended.where)));
        }
      }));
}

/// The receiver refused bytes: reads them again to tell where they went bad.
void server_core::explain_mismatch(const fabrics::call& begun, const std::shared_ptr<open_shard>& shard,
                                   std::uint64_t offset) {
  const auto& known = shard->manifest();
  std::vector<std::byte> bytes(block_size);
  const auto end = block_count(offset + begun.terms().length);
  for (auto block = offset / block_size; block < end; ++block) {
    const auto good = shard->check_block(block, bytes);
    if (good) continue;
    if (good.error() == errc::checksum_mismatch) ++bad_blocks_;
    return begun.fail(good.error());
  }
  begun.fail(error(errc::checksum_mismatch,
                   fmt::format("wire: shard '{}' from offset {}, read again, is intact on disk", known.name, offset)));
}

} // namespace weft::shards
