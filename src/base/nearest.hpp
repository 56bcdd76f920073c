// The known name that a mistyped one most likely meant, for error messages. Pure.
#pragma once

#include <span>
#include <string_view>

namespace weft {

/// The name in `known` with the fewest insertions, deletions, replacements and swaps of neighbours away from `name`;
/// empty if even that is too far to be what was meant.
[[nodiscard]] std::string_view nearest_name(std::string_view name, std::span<const std::string_view> known);

} // namespace weft
