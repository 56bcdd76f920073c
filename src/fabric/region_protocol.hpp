// The payloads of the regions service: opening one by name, and reading or writing runs of one.
#pragma once

#include "wire/cursor.hpp"
#include "wire/run.hpp"

#include "weft/error.hpp"
#include "weft/region.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace weft::fabrics {

/// Of a region, by offset. More than most_runs, or than most_pieces over all of them, go in several operations.
using wire::most_pieces;
using wire::most_runs;
using wire::run;

inline constexpr std::size_t most_notify = 4096;
inline constexpr std::size_t longest_region_name = 255;

/// A read or write of a published region, as the request carries it.
struct region_access {
  std::uint64_t region = 0;
  std::vector<run> runs;
  std::vector<std::byte> notify;

  friend bool operator==(const region_access&, const region_access&) = default;
};

[[nodiscard]] std::vector<std::byte> encode_open(std::string_view name);
[[nodiscard]] std::vector<std::byte> encode(const region_access& access);
/// Checks counts and that the total does not overflow; not that it fits the region. Errors: protocol_error.
[[nodiscard]] result<region_access> decode_access(std::span<const std::byte> payload);
/// Of the name in a request to open. Errors: protocol_error.
[[nodiscard]] result<std::string> decode_open(std::span<const std::byte> payload);

[[nodiscard]] std::vector<std::byte> encode_opened(const remote_region& region);
[[nodiscard]] result<remote_region> decode_opened(std::span<const std::byte> payload);

/// Appends `length` bytes at `offset`, extending the last run where the pattern goes on.
void append(std::vector<run>& runs, std::uint64_t offset, std::uint64_t length);

} // namespace weft::fabrics
