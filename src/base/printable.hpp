// What may go onto a terminal. Any thread.
#pragma once

#include <string>

namespace weft {

/// Puts '?' in place of each byte of what a terminal would obey: what a peer says goes into logs, and onto terminals.
/// The first 32 characters, DEL and, in UTF-8, the 32 from U+0080 on.
[[nodiscard]] std::string printable(std::string text);

} // namespace weft
