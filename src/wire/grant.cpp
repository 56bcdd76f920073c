#include "wire/grant.hpp"

#include "wire/cursor.hpp"

namespace weft::wire {
namespace {

error malformed() {
  return {errc::protocol_error, "malformed grant"};
}

struct granted_run {
  std::uint16_t region = 0;
  run pieces;
};

constexpr std::size_t encoded_run = 30;

/// The runs and their regions, in the order of the bytes.
struct outline {
  std::vector<const registration*> regions;
  std::vector<granted_run> runs;

  std::uint16_t number_of(const registration* region) {
    const auto number = std::find(regions.begin(), regions.end(), region) - regions.begin();
    if (number == std::ssize(regions)) regions.push_back(region);
    return static_cast<std::uint16_t>(number);
  }
};

} // namespace

void encode_grant(const memory::piece_list& pieces, std::vector<std::byte>& out) {
  outline all;
  bool known = true;
  pieces.visit(0, pieces.length(), [&](std::span<std::byte> part, const registration* in) {
    known = in != nullptr && !in->keys.empty();
    if (!known) return false;
    const auto region = all.number_of(in);
    const auto address = reinterpret_cast<std::uintptr_t>(part.data());
    const bool same_region = !all.runs.empty() && all.runs.back().region == region;
    if (!same_region || !all.runs.back().pieces.takes(address, part.size())) {
      all.runs.push_back({region, {.begin = address, .length = part.size()}});
    }
    return true;
  });
  if (!known || all.runs.empty() || all.runs.size() > most_runs) return;
  const auto rails = all.regions.front()->keys.size();
  if (3 + all.regions.size() * rails * sizeof(std::uint32_t) + all.runs.size() * encoded_run > most_grant_size) return;
  writer to(out);
  to.integer(static_cast<std::uint8_t>(rails));
  to.integer(static_cast<std::uint16_t>(all.regions.size()));
  for (const auto* region : all.regions) {
    for (const auto& key : region->keys) to.integer(key.remote);
  }
  for (const auto& [region, run] : all.runs) {
    to.integer(region).integer(run.begin).integer(run.length).integer(run.stride);
    to.integer(static_cast<std::uint32_t>(run.count));
  }
}

result<memory::granted_list> decode_grant(std::span<const std::byte> body, std::uint64_t length) {
  if (body.empty()) return memory::granted_list();
  reader in(body);
  const std::size_t rails = in.integer<std::uint8_t>();
  const std::size_t regions = in.integer<std::uint16_t>();
  if (rails == 0 || rails > most_rails || regions == 0 || regions > most_runs) return malformed();
  memory::granted_list list(rails);
  if (in.left() < regions * rails * sizeof(std::uint32_t)) return malformed();
  for (std::size_t i = 0; i < regions * rails; ++i) list.add_key(in.integer<std::uint32_t>());
  if (in.left() % encoded_run != 0 || in.left() / encoded_run > most_runs) return malformed();
  std::uint64_t pieces = 0;
  while (in.left() > 0) {
    const auto region = in.integer<std::uint16_t>();
    const auto address = in.integer<std::uint64_t>();
    const auto bytes = in.integer<std::uint64_t>();
    const auto stride = in.integer<std::uint64_t>();
    const auto count = in.integer<std::uint32_t>();
    pieces += count;
    const bool sane = region < regions && bytes > 0 && count > 0 && pieces <= most_pieces &&
                      bytes <= length - list.length() && (count == 1 || stride >= bytes) &&
                      stride < (std::uint64_t{1} << 48);
    if (!sane) return malformed();
    for (std::uint32_t i = 0; i < count; ++i) {
      if (bytes > length - list.length()) return malformed();
      list.add(region, address + stride * i, bytes);
    }
  }
  if (!in.ok() || list.length() != length) return malformed();
  return list;
}

} // namespace weft::wire
