#include "fabric/region_protocol.hpp"

namespace weft::fabrics {
namespace {

error malformed() {
  return {errc::protocol_error, "malformed access to a region"};
}

/// Whether all of it has offsets and a total that can be computed without overflow.
bool sane(const run& value) {
  constexpr auto most = std::uint64_t{1} << 62;
  if (value.count == 0 || value.count > most_pieces || value.length == 0) return false;
  return value.begin < most && value.length < most / value.count && value.stride < most / value.count;
}

} // namespace

std::vector<std::byte> encode_open(std::string_view name) {
  std::vector<std::byte> out;
  wire::writer(out).text(name);
  return out;
}

result<std::string> decode_open(std::span<const std::byte> payload) {
  wire::reader in(payload);
  auto name = in.text(longest_region_name);
  if (!in.finished()) return malformed();
  return name;
}

std::vector<std::byte> encode(const region_access& access) {
  std::vector<std::byte> out;
  out.reserve(sizeof access.region + sizeof(std::uint32_t) + access.runs.size() * sizeof(run) + access.notify.size());
  wire::writer to(out);
  to.integer(access.region).integer(static_cast<std::uint32_t>(access.runs.size()));
  for (const auto& each : access.runs) {
    to.integer(each.begin).integer(each.length).integer(each.stride).integer(each.count);
  }
  to.bytes(access.notify);
  return out;
}

result<region_access> decode_access(std::span<const std::byte> payload) {
  wire::reader in(payload);
  region_access access;
  access.region = in.integer<std::uint64_t>();
  const std::size_t count = in.integer<std::uint32_t>();
  if (count > most_runs || in.left() < count * sizeof(run)) return malformed();
  access.runs.reserve(count);
  std::uint64_t pieces = 0;
  for (std::size_t i = 0; i < count; ++i) {
    auto& each = access.runs.emplace_back();
    each.begin = in.integer<std::uint64_t>();
    each.length = in.integer<std::uint64_t>();
    each.stride = in.integer<std::uint64_t>();
    each.count = in.integer<std::uint64_t>();
    if (!sane(each)) return malformed();
    pieces += each.count;
  }
  const auto notify = in.rest();
  if (!in.finished() || pieces > most_pieces || notify.size() > most_notify) return malformed();
  access.notify.assign(notify.begin(), notify.end());
  return access;
}

std::vector<std::byte> encode_opened(const remote_region& region) {
  std::vector<std::byte> out;
  wire::writer(out).integer(region.id).integer(region.size).integer(static_cast<std::uint8_t>(region.allowed));
  return out;
}

result<remote_region> decode_opened(std::span<const std::byte> payload) {
  wire::reader in(payload);
  remote_region region;
  region.id = in.integer<std::uint64_t>();
  region.size = in.integer<std::uint64_t>();
  const auto allowed = in.integer<std::uint8_t>();
  if (!in.finished() || allowed == 0 || allowed > static_cast<std::uint8_t>(rights::read_write)) return malformed();
  region.allowed = static_cast<rights>(allowed);
  return region;
}

void append(std::vector<run>& runs, std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return;
  if (runs.empty() || !runs.back().takes(offset, length)) runs.push_back({.begin = offset, .length = length});
}

} // namespace weft::fabrics
