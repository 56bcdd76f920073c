// How addresses of the network are written in messages.
#pragma once

#include <boost/asio/ip/tcp.hpp>

#include <string>

#include <fmt/ostream.h>

namespace weft::path {

/// "10.0.0.1:7000", "[fd00::1]:7000"
[[nodiscard]] inline std::string to_text(const boost::asio::ip::tcp::endpoint& of) {
  return fmt::to_string(fmt::streamed(of));
}

} // namespace weft::path
