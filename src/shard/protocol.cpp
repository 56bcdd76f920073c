#include "shard/protocol.hpp"

#include "shard/name.hpp"
#include "wire/cursor.hpp"

#include <algorithm>

namespace weft::shards {
namespace {

error malformed(const char* what) {
  return {errc::protocol_error, std::string("malformed ") + what};
}

} // namespace

std::vector<std::byte> encode(const command& value) {
  std::vector<std::byte> out;
  wire::writer to(out);
  to.integer(static_cast<std::uint8_t>(value.what)).text(value.name).text(value.after).id(value.version);
  to.integer(value.number).integer(value.offset);
  to.bytes(std::as_bytes(std::span(value.crcs)));
  return out;
}

result<command> decode_command(std::span<const std::byte> payload) {
  wire::reader in(payload);
  command value;
  const auto what = in.integer<std::uint8_t>();
  value.name = in.text(longest_shard_name);
  value.after = in.text(longest_shard_name);
  value.version = in.id();
  value.number = in.integer<std::uint64_t>();
  value.offset = in.integer<std::uint64_t>();
  const auto crcs = in.left() / sizeof(std::uint32_t);
  if (!in.ok() || what < static_cast<std::uint8_t>(verb::stat) || what > static_cast<std::uint8_t>(verb::remove) ||
      crcs > most_crcs) {
    return malformed("command for shards");
  }
  value.what = static_cast<verb>(what);
  value.crcs.reserve(crcs);
  for (std::size_t i = 0; i < crcs; ++i) value.crcs.push_back(in.integer<std::uint32_t>());
  if (!in.finished()) return malformed("command for shards");
  return value;
}

std::vector<std::byte> encode(const answer& value) {
  std::vector<std::byte> out;
  wire::writer to(out);
  to.id(value.version).integer(value.size);
  to.bytes(std::as_bytes(std::span(value.bad_blocks)));
  return out;
}

result<answer> decode_answer(std::span<const std::byte> payload) {
  wire::reader in(payload);
  answer value;
  value.version = in.id();
  value.size = in.integer<std::uint64_t>();
  const auto blocks = in.left() / sizeof(std::uint64_t);
  if (!in.ok() || blocks > most_bad_blocks) return malformed("answer of a shard server");
  value.bad_blocks.reserve(blocks);
  for (std::size_t i = 0; i < blocks; ++i) value.bad_blocks.push_back(in.integer<std::uint64_t>());
  if (!in.finished()) return malformed("answer of a shard server");
  return value;
}

std::vector<std::byte> encode(const shard_page& page) {
  std::vector<std::byte> out;
  wire::writer to(out);
  constexpr std::size_t fixed = 2 + 16 + 8;
  std::size_t fitting = 0;
  for (std::size_t size = 0; fitting < page.shards.size(); ++fitting) {
    size += fixed + page.shards[fitting].name.size();
    if (size > largest_page) break;
  }
  to.integer(static_cast<std::uint8_t>(page.more || fitting < page.shards.size()));
  for (const auto& entry : std::span(page.shards).first(fitting)) {
    to.text(entry.name).id(entry.version).integer(entry.size);
  }
  return out;
}

result<shard_page> decode_page(std::span<const std::byte> payload) {
  wire::reader in(payload);
  shard_page page;
  page.more = in.integer<std::uint8_t>() != 0;
  while (in.ok() && in.left() > 0) {
    auto& entry = page.shards.emplace_back();
    entry.name = in.text(longest_shard_name);
    entry.version = in.id();
    entry.size = in.integer<std::uint64_t>();
  }
  const auto bad = [](const shard_info& entry) { return !check_shard_name(entry.name); };
  if (!in.ok() || std::ranges::any_of(page.shards, bad)) return malformed("listing of a shard server");
  return page;
}

} // namespace weft::shards
