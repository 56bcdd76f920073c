// The few system calls that more than one command makes.
#include "common/descriptor.hpp"

#include <fmt/format.h>

#include <boost/system/system_error.hpp>

#include <cerrno>

#include <unistd.h>

namespace weft::tools {

descriptor::~descriptor() {
  if (number_ >= 0) ::close(number_);
}

error system_error(std::string_view place) {
  const error_code code{errno, boost::system::system_category()};
  return {to_errc(code), fmt::format("{}: {}", place, code.message())};
}

result<void> write_all(int to, std::span<const std::byte> bytes, std::string_view place) {
  while (!bytes.empty()) {
    const auto written = ::write(to, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return error{errc::cancelled, fmt::format("{}: its reader has ended", place)};
    if (written < 0) return system_error(place);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

} // namespace weft::tools
