#include "buffer.hpp"

#include "base/crc32c.hpp"

#include <algorithm>
#include <cstring>

namespace weft::sim {
namespace {

constexpr std::byte gap_byte{0xa5};
constexpr std::byte poison_byte{0xdb};
constexpr std::size_t recent_kept = 8;
constexpr std::size_t table_size = std::size_t{1} << 20;

/// Random bytes, of which every content is a run from another place on.
const std::vector<std::byte>& table() {
  static const std::vector<std::byte> bytes = [] {
    std::vector<std::byte> made(3 * table_size);
    random_source random(7);
    for (std::size_t at = 0; at < made.size(); at += sizeof(std::uint64_t)) {
      const auto word = random.next();
      std::memcpy(made.data() + at, &word, sizeof word);
    }
    return made;
  }();
  return bytes;
}

const std::byte* content(std::uint64_t seed) {
  return table().data() + (seed * 0x9e3779b97f4a7c15u >> 20) % table_size;
}

} // namespace

buffer::buffer(random_source& random, std::uint64_t length) : length_(length) {
  const auto most = std::min<std::uint64_t>(length, 1 + random.below(5));
  std::size_t at = random.below(64);
  for (std::uint64_t left = length, piece = 1; left > 0; ++piece) {
    const auto count = piece >= most ? left : 1 + random.below(left);
    pieces_.push_back({at, count});
    at += count + 1 + random.below(64);
    left -= count;
  }
  bytes_ = std::make_shared<std::vector<std::byte>>(at + 1, gap_byte);
}

memory::piece_list buffer::pieces() const {
  memory::piece_list list;
  for (const auto& piece : pieces_) list.add(std::span(*bytes_).subspan(piece.at, piece.length));
  list.keep(bytes_);
  return list;
}

void buffer::fill(std::uint64_t seed) {
  const auto* from = content(seed);
  for (const auto& piece : pieces_) {
    std::memcpy(bytes_->data() + piece.at, from, piece.length);
    from += piece.length;
  }
}

bool buffer::holds(std::uint64_t seed) const {
  const auto* expected = content(seed);
  std::size_t gap = 0;
  const auto untouched = [this](std::size_t from, std::size_t to) {
    return std::all_of(bytes_->data() + from, bytes_->data() + to, [](std::byte b) { return b == gap_byte; });
  };
  for (const auto& piece : pieces_) {
    if (!untouched(gap, piece.at)) return false;
    if (std::memcmp(bytes_->data() + piece.at, expected, piece.length) != 0) return false;
    expected += piece.length;
    gap = piece.at + piece.length;
  }
  return untouched(gap, bytes_->size());
}

std::uint32_t buffer::crc(std::uint64_t offset, std::uint64_t length) const {
  std::uint32_t crc = 0;
  pieces().for_each(offset, length, [&crc](std::span<std::byte> part) { crc = crc32c(part, crc); });
  return crc;
}

void buffer::poison() {
  std::fill(bytes_->begin(), bytes_->end(), poison_byte);
}

bool buffer::poisoned_at(std::size_t at) const {
  return (*bytes_)[at] == poison_byte;
}

bool buffer::poisoned() const {
  return bytes_->front() == poison_byte && std::memcmp(bytes_->data(), bytes_->data() + 1, bytes_->size() - 1) == 0;
}

buffer& buffers::add(random_source& random, std::uint64_t length) {
  auto& added = all_.emplace_back(random, length);
  by_address_[added.bytes_->data()] = &added;
  return added;
}

void buffers::release(buffer& freed) {
  if (freed.released_) return;
  freed.released_ = true;
  freed.poison();
  recent_.push_back(&freed);
  if (recent_.size() <= recent_kept) return;
  if (!recent_.front()->poisoned()) found("a buffer was written after its transfer was over");
  recent_.pop_front();
}

void buffers::touching(std::span<const std::byte> bytes, bool writes) {
  const auto next = by_address_.upper_bound(bytes.data());
  if (next == by_address_.begin()) return found("a channel touches memory that is no buffer");
  const auto& touched = *std::prev(next)->second;
  const auto* end = touched.bytes_->data() + touched.bytes_->size();
  if (bytes.data() + bytes.size() > end) return found("a channel touches memory beyond a buffer");
  if (!touched.released_) return;
  found(writes ? "a channel writes a buffer after its transfer was over"
               : "a channel reads a buffer after its transfer was over");
}

void buffers::look(random_source& random) {
  for (const auto* one : recent_) {
    if (!one->poisoned_at(random.below(one->bytes_->size()))) found("a buffer changed after its transfer was over");
  }
}

void buffers::check_all() {
  for (const auto& one : all_) {
    if (!one.released()) found("a transfer's buffer was never given back");
    if (one.released() && !one.poisoned()) found("a buffer was written after its transfer was over");
    if (one.referenced()) found("a buffer is still referenced at the end");
  }
}

void buffers::found(std::string what) {
  if (violation_.empty()) violation_ = std::move(what);
}

} // namespace weft::sim
