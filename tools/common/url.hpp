// Addresses and URLs as a command line has them. Pure functions.
#pragma once

#include <weft/error.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace weft::tools {

/// weft://HOST:PORT[,HOST:PORT...]/NAME
struct shard_url {
  std::vector<std::string> replicas; ///< each HOST:PORT or [V6]:PORT
  std::string name;                  ///< of the shard, or the prefix to list; may be empty

  [[nodiscard]] std::string text() const;
};

/// Errors: invalid_url, quoting the URL and saying what is wrong in it.
[[nodiscard]] result<shard_url> parse_url(std::string_view text);
/// As parse_url, and the name must not be empty.
[[nodiscard]] result<shard_url> parse_shard_url(std::string_view text);

/// Whether `text` is HOST:PORT or [V6]:PORT; nothing is resolved. Errors: invalid_url.
[[nodiscard]] result<void> check_address(std::string_view text);

} // namespace weft::tools
