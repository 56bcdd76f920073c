// A TCP proxy on loopback that forwards connections to a server and can break them: all, only the session's (the first
// of a link), or only those with data. Has a thread of its own; its functions may be called on any.
#pragma once

#include "support.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>

namespace weft::tests {

class chaos_proxy {
public:
  enum class victims { all, sessions, channels };

  /// Forwards to `target`, HOST:PORT.
  explicit chaos_proxy(const std::string& target);
  ~chaos_proxy();

  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// Breaks the connections that there are; waits until it is done. Returns how many.
  std::size_t break_connections(victims which);
  /// Whether new connections are forwarded; others are closed at once.
  void let_in(bool allowed);
  /// Bytes forwarded to the client and to the server so far.
  [[nodiscard]] std::uint64_t forwarded() const noexcept { return forwarded_; }

private:
  struct connection;

  void accept_next();

  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_{context_};
  asio::ip::tcp::endpoint target_;
  std::string address_;
  std::list<std::weak_ptr<connection>> connections_;
  std::atomic<bool> let_in_ = true;
  std::atomic<std::uint64_t> forwarded_ = 0;
  std::thread thread_;
};

} // namespace weft::tests
