// What a shard client and a shard server say to each other: the payloads of the operations of the shards service.
#pragma once

#include <weft/error.hpp>
#include <weft/id.hpp>

#include "shard/catalogue.hpp"
#include "shard/manifest.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::shards {

enum class verb : std::uint8_t {
  stat = 1,    ///< request: name, version
  list,        ///< request: prefix, after, limit
  verify,      ///< request: name
  read,        ///< read: name, version, offset; as long as the transfer
  put_begin,   ///< request: put, name, version, size
  put_chunk,   ///< write: put, offset, CRCs of its blocks
  put_compare, ///< request: put, first block, CRCs: the version is there already
  put_commit,  ///< request: put
  put_abandon, ///< request: put
  remove,      ///< request: name, version
};

/// One shape for all of them; a verb uses the members that its comment above names.
struct command {
  verb what{};
  std::string name = {};    ///< or the prefix
  std::string after = {};   ///< list
  id128 version = {};       ///< stat, read, remove: zero means the newest
  std::uint64_t number = 0; ///< put_*: which, as the client counts them on its link; list: limit
  std::uint64_t offset = 0; ///< read, put_chunk; put_begin: size; put_compare: first block
  std::vector<std::uint32_t> crcs = {};

  [[nodiscard]] std::optional<id128> wanted_version() const noexcept {
    return version == id128{} ? std::nullopt : std::optional(version);
  }

  friend bool operator==(const command&, const command&) = default;
};

/// Blocks whose CRCs fit one command.
inline constexpr std::size_t most_crcs = 15 * 1024;

[[nodiscard]] std::vector<std::byte> encode(const command& value);
/// Errors: protocol_error.
[[nodiscard]] result<command> decode_command(std::span<const std::byte> payload);

// Answers. Those of stat, put_begin and verify are one struct.
struct answer {
  id128 version = {};
  std::uint64_t size = 0; ///< stat: of the shard; put_begin: 1 when this version is there already; verify: blocks
  std::vector<std::uint64_t> bad_blocks = {}; ///< verify

  friend bool operator==(const answer&, const answer&) = default;
};

inline constexpr std::size_t most_bad_blocks = 1024;
inline constexpr std::size_t most_listed = 1000;
/// Of an encoded page: a response has room for this and its fixed part.
inline constexpr std::size_t largest_page = 60 * 1024;

[[nodiscard]] std::vector<std::byte> encode(const answer& value);
[[nodiscard]] result<answer> decode_answer(std::span<const std::byte> payload);
/// Leaves out the last entries, and says `more`, when all would be too large.
[[nodiscard]] std::vector<std::byte> encode(const shard_page& page);
[[nodiscard]] result<shard_page> decode_page(std::span<const std::byte> payload);

} // namespace weft::shards
