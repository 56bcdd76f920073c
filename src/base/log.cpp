// Formatting a message and handing it to the sink.
#include "base/log.hpp"

#include <iterator>

namespace weft {

void logger::write(log_level level, fmt::string_view text, fmt::format_args arguments) const noexcept {
  try {
    fmt::memory_buffer line; // the first 500 bytes need no allocation
    fmt::vformat_to(std::back_inserter(line), text, arguments);
    sink_(level, std::string_view{line.data(), line.size()});
  } catch (...) {
    // A message that cannot be written must not end the transfer that it is about.
  }
}

} // namespace weft
