#include "chaos_proxy.hpp"

#include "wire/frame.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>

#include <array>

namespace weft::tests {

using asio::ip::tcp;

/// One connection of a client and its counterpart to the server.
struct chaos_proxy::connection : std::enable_shared_from_this<connection> {
  connection(tcp::socket from, std::atomic<std::uint64_t>& count)
      : client(std::move(from)), server(client.get_executor()), forwarded(count) {}

  void start(const tcp::endpoint& target) {
    server.async_connect(target, [self = shared_from_this()](const error_code& code) {
      if (code) return self->end();
      self->pass(self->client, self->server, self->up);
      self->pass(self->server, self->client, self->down);
    });
  }

  void pass(tcp::socket& from, tcp::socket& to, std::array<std::byte, 65536>& buffer) {
    from.async_read_some(asio::buffer(buffer),
                         [self = shared_from_this(), &from, &to, &buffer](const error_code& code, std::size_t size) {
                           if (code) return self->end();
                           self->look(&from == &self->client, std::span(buffer).first(size));
                           self->forwarded += size;
                           asio::async_write(to, asio::buffer(buffer.data(), size),
                                             [self, &from, &to, &buffer](const error_code& written, std::size_t) {
                                               if (written) return self->end();
                                               self->pass(from, to, buffer);
                                             });
                         });
  }

  /// A client's first frame tells what the connection is for.
  void look(bool from_client, std::span<const std::byte> bytes) {
    if (!from_client || std::exchange(looked, true) || bytes.size() < wire::header_size) return;
    const auto header = wire::decode(bytes.first<wire::header_size>());
    is_session = header && header->type == wire::frame_type::hello;
  }

  void end() {
    // A reset, as when a host dies: what is on its way is lost.
    for (auto* socket : {&client, &server}) {
      error_code ignored;
      socket->set_option(asio::socket_base::linger(true, 0), ignored);
      socket->close(ignored);
    }
  }

  tcp::socket client;
  tcp::socket server;
  std::atomic<std::uint64_t>& forwarded;
  std::array<std::byte, 65536> up;
  std::array<std::byte, 65536> down;
  bool looked = false;
  bool is_session = false;
};

chaos_proxy::chaos_proxy(const std::string& target) {
  const auto colon = target.rfind(':');
  target_ = {asio::ip::make_address(target.substr(0, colon)),
             static_cast<std::uint16_t>(std::stoi(target.substr(colon + 1)))};
  acceptor_.open(tcp::v4());
  acceptor_.bind({asio::ip::address_v4::loopback(), 0});
  acceptor_.listen();
  address_ = "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  accept_next();
  thread_ = std::thread([this] { context_.run(); });
}

chaos_proxy::~chaos_proxy() {
  context_.stop();
  thread_.join();
}

void chaos_proxy::accept_next() {
  acceptor_.async_accept([this](const error_code& code, tcp::socket socket) {
    if (code) return;
    if (let_in_) {
      auto accepted = std::make_shared<connection>(std::move(socket), forwarded_);
      std::erase_if(connections_, [](const auto& each) { return each.expired(); });
      connections_.push_back(accepted);
      accepted->start(target_);
    }
    accept_next();
  });
}

std::size_t chaos_proxy::break_connections(victims which) {
  std::promise<std::size_t> done;
  asio::dispatch(context_, [&] {
    std::size_t count = 0;
    for (const auto& each : connections_) {
      const auto live = each.lock();
      if (!live || !live->client.is_open()) continue;
      if (which != victims::all && live->is_session != (which == victims::sessions)) continue;
      live->end();
      ++count;
    }
    done.set_value(count);
  });
  return soon(done.get_future());
}

void chaos_proxy::let_in(bool allowed) {
  let_in_ = allowed;
}

} // namespace weft::tests
