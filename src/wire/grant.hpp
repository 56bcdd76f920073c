// How a grant names memory, for paths that write it without asking: with the addresses goes, for each region, the key
// that each rail of the granting end knows it by. Regions' keys travel with every grant and not once over the session:
// the session and the channel of a grant keep no order between them, so a grant could come before the keys it needs.
#pragma once

#include "memory/granted.hpp"
#include "memory/pieces.hpp"
#include "wire/frame.hpp"
#include "wire/run.hpp"

#include "weft/error.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace weft::wire {

/// Of the encoded form, so that a read's request has room for its grant.
inline constexpr std::size_t most_grant_size = 32 * 1024;

/// Appends what names `pieces`; nothing where they have no keys, or more runs than a grant may have.
void encode_grant(const memory::piece_list& pieces, std::vector<std::byte>& out);

/// An empty body is an empty list. Errors: protocol_error, also where it does not name exactly `length` bytes.
[[nodiscard]] result<memory::granted_list> decode_grant(std::span<const std::byte> body, std::uint64_t length);

} // namespace weft::wire
