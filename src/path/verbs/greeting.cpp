// The private data of a connection.
#include "path/verbs/connect.hpp"

#include "wire/cursor.hpp"
#include "wire/frame.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

constexpr std::uint32_t greeting_magic = 0x52464557; // "WEFR" in memory order
constexpr std::uint8_t greeting_version = 1;
/// In place of the number of a channel.
constexpr std::uint8_t probe_number = 0xff;

} // namespace

private_data encode(const greeting& said) {
  std::vector<std::byte> bytes;
  wire::writer(bytes)
      .integer(greeting_magic)
      .integer(greeting_version)
      .integer(static_cast<std::uint8_t>(said.at.carries))
      .integer(said.probes ? probe_number : said.at.number)
      .integer(said.rail)
      .id(said.session)
      .integer(said.epoch)
      .integer(said.credits);
  private_data out{};
  static_assert(sizeof(greeting_magic) + 4 + 16 + 4 + 2 <= private_data_size);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

result<greeting> decode_greeting(std::span<const std::byte> data) {
  wire::reader in(data);
  if (in.integer<std::uint32_t>() != greeting_magic) return error(errc::not_weft, "a connection of something else");
  if (const auto version = in.integer<std::uint8_t>(); version != greeting_version) {
    return error(errc::version_mismatch, fmt::format("version {} of the greeting", version));
  }
  greeting said;
  const auto carries = in.integer<std::uint8_t>();
  const auto number = in.integer<std::uint8_t>();
  said.rail = in.integer<std::uint8_t>();
  said.session = in.id();
  said.epoch = in.integer<std::uint32_t>();
  said.credits = in.integer<std::uint16_t>();
  said.probes = number == probe_number;
  const bool placed =
      carries < lane_count && (said.probes || number < wire::most_channels_of(static_cast<lane>(carries)));
  if (!in.ok() || !placed || said.epoch == 0 || said.credits < queues::least_credits || said.rail >= wire::most_rails) {
    return error(errc::protocol_error, "malformed greeting");
  }
  said.at = {static_cast<lane>(carries), said.probes ? std::uint8_t{0} : number};
  return said;
}

} // namespace weft::path::verbs
