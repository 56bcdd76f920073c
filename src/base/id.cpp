// Ids as text, and new ones from the kernel.
#include "weft/id.hpp"

#include <fmt/format.h>

#include <sys/random.h>

#include <cerrno>
#include <charconv>
#include <system_error>

namespace weft {

std::string to_string(const id128& id) {
  return fmt::format("{:016x}{:016x}", id.high, id.low);
}

result<id128> id128::from_string(std::string_view text) {
  const auto digits = text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
  if (!digits || text.size() != 32) {
    return error{errc::invalid_argument, fmt::format("\"{}\" is not an id of 32 hexadecimal digits", text)};
  }
  id128 id;
  std::from_chars(text.data(), text.data() + 16, id.high, 16);
  std::from_chars(text.data() + 16, text.data() + 32, id.low, 16);
  return id;
}

id128 random_id() {
  id128 id;
  // Requests of up to 256 bytes are never cut short; only a signal before the source is ready interrupts them.
  while (::getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) {
    if (errno != EINTR) throw std::system_error(errno, std::system_category(), "getrandom");
  }
  return id;
}

} // namespace weft
