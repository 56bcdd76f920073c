// Getting a TCP connection: addresses, options, dialling with a time limit, and the first frame of both ends.
#pragma once

#include "base/clock.hpp"
#include "base/tunables.hpp"
#include "lane/policy.hpp"
#include "wire/bodies.hpp"

#include "weft/error.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace weft::path::tcp {

struct address {
  std::string host; ///< a name, or an IP address without brackets
  std::string port;
};

/// HOST:PORT or [V6]:PORT, optionally behind weft://. Errors: invalid_url.
[[nodiscard]] result<address> parse_address(std::string_view text);

/// Whether the kernel has what the settings ask of it. Errors: invalid_config, naming the setting.
[[nodiscard]] result<void> check_options(const tunables& limits);
/// Options of every connection: no delay, keep-alive, user timeout, buffers, congestion control.
void set_options(boost::asio::ip::tcp::socket& socket, const tunables& limits);

/// Marks what a channel sends.
void mark(boost::asio::ip::tcp::socket& socket, lanes::marks with);

using dialled = std::function<void(const error& failure, boost::asio::ip::tcp::socket socket)>;

/// Connects to the first address of `to` that answers. `done` is called once, from the executor, at the latest after
/// `limit`; failure.code() is zero on success. The returned function gives up: done follows with cancelled.
std::function<void()> dial(boost::asio::any_io_executor on, const address& to, duration limit, const tunables& limits,
                           dialled done);

/// Connects to `to` and opens a data channel there: channel_hello out, channel_answer in. As dial.
void dial_channel(boost::asio::any_io_executor on, const boost::asio::ip::tcp::endpoint& to,
                  const wire::channel_hello& hello, duration limit, const tunables& limits, dialled done);

using greeted = std::function<void(const error& failure, boost::asio::ip::tcp::socket socket,
                                   const wire::frame_header& header, std::span<const std::byte> body)>;

/// Reads the first frame of a connection, which must come within `limit`.
void greet(boost::asio::ip::tcp::socket accepted, duration limit, greeted done);

/// Says why, and closes.
void refuse(boost::asio::ip::tcp::socket socket, errc why);

} // namespace weft::path::tcp
