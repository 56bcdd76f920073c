// Which RDMA devices a process uses, and which GID of them: "mlx5_0,mlx5_1:1:3", or "^mlx5_2" for all others. A value.
#pragma once

#include <weft/error.hpp>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

struct rail_list {
  static constexpr std::size_t longest = 255; ///< characters

  /// What the list says of one port of a device.
  struct verdict {
    bool used = false;
    std::optional<std::uint32_t> gid_index = {}; ///< none: whichever leads to the peer
  };
  [[nodiscard]] verdict of(std::string_view device, std::uint32_t port) const noexcept;
  /// The items that are to be used, and name none of `ports`, as "mlx5_0:1".
  [[nodiscard]] std::vector<std::string> missing_in(const std::vector<std::string>& ports) const;
  /// Empty: all.
  [[nodiscard]] constexpr std::string_view text() const noexcept { return characters.data(); }

  friend constexpr auto operator<=>(const rail_list&, const rail_list&) noexcept = default;

  std::array<char, longest + 1> characters{};
};

/// The end of the order that comparisons have, which means nothing else.
inline constexpr rail_list last_rail_list = [] {
  rail_list last;
  for (std::size_t i = 0; i < rail_list::longest; ++i) last.characters[i] = '\x7f';
  return last;
}();

/// Of "any", and of items DEVICE, DEVICE:PORT and DEVICE:PORT:GID_INDEX between commas; ^ before them means all others.
/// Errors: invalid_argument.
[[nodiscard]] result<rail_list> parse_rail_list(std::string_view text);
/// parse_rail_list reads it back.
[[nodiscard]] std::string to_string(const rail_list& value);

} // namespace weft
