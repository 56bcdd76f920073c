// A plain TCP listener on loopback, for what a client may meet at a port: something that answers nonsense, closes, or
// says nothing. Has a thread of its own.
#pragma once

#include "support.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>

#include <functional>
#include <list>
#include <string>
#include <thread>

namespace weft::tests {

class listener {
public:
  using socket = asio::ip::tcp::socket;

  /// `meet` is called with every connection, on the listener's thread; those that it leaves open stay open.
  explicit listener(std::function<void(socket&)> meet) : meet_(std::move(meet)) {
    address_ = "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
    accept_next();
    thread_ = std::thread([this] { context_.run(); });
  }
  ~listener() {
    context_.stop();
    thread_.join();
  }

  [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
  void accept_next() {
    acceptor_.async_accept([this](const error_code& code, socket accepted) {
      if (code) return;
      met_.push_back(std::move(accepted));
      meet_(met_.back());
      accept_next();
    });
  }

  std::function<void(socket&)> meet_;
  asio::io_context context_;
  asio::ip::tcp::acceptor acceptor_{context_, {asio::ip::address_v4::loopback(), 0}};
  std::list<socket> met_;
  std::string address_;
  std::thread thread_;
};

} // namespace weft::tests
