// What a shard may be called, and the file name that stands for it in a store's folders. Pure functions: any thread
// may call them.
#pragma once

#include <weft/error.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace weft {

inline constexpr std::size_t longest_shard_name = 1024;
/// Leaves room for a suffix within the 255 bytes that Linux file systems allow.
inline constexpr std::size_t longest_file_name = 200;

/// A name is 1 to 1024 bytes of UTF-8: components separated by '/', none of them empty, "." or "..", without control
/// characters and backslashes. Errors: invalid_name, saying what is wrong at which byte.
[[nodiscard]] result<void> check_shard_name(std::string_view name);

/// A valid shard name as one file name: every byte but letters, digits, '-', '.', '_' and '~' becomes %XX. What would
/// exceed longest_file_name becomes "%~" and a name-based UUID (RFC 4122, version 5); its manifest has the true name.
[[nodiscard]] std::string file_name_of(std::string_view shard_name);

} // namespace weft
