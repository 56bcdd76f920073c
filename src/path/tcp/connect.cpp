#include "path/tcp/connect.hpp"

#include "path/address.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <vector>

#include <fmt/format.h>

namespace weft::path::tcp {
namespace {

namespace asio = boost::asio;
using socket_type = asio::ip::tcp::socket;

void set_option(socket_type& socket, int level, int name, int value) {
  ::setsockopt(socket.native_handle(), level, name, &value, sizeof value);
}

bool set_congestion(int socket, congestion_control wanted) {
  if (wanted == congestion_control::system) return true;
  const auto algorithm = name(wanted);
  return ::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, algorithm.data(), algorithm.size()) == 0;
}

/// One attempt at a connection, with everything that must live until it ends.
struct attempt : std::enable_shared_from_this<attempt> {
  attempt(asio::any_io_executor on, const tunables& limits, dialled done)
      : socket(on), resolver(on), timer(on), limits(limits), done(std::move(done)) {}

  void limit_to(duration limit) {
    timer.expires_after(limit);
    timer.async_wait([self = shared_from_this()](const error_code& code) {
      if (code) return;
      self->finish(error(errc::unreachable, self->target + ": no answer in time"));
    });
  }

  void finish(const error& failure) {
    if (!done) return;
    timer.cancel();
    resolver.cancel();
    error_code ignored;
    if (failure.code() != errc{}) socket.close(ignored);
    std::exchange(done, nullptr)(failure, std::move(socket));
  }

  std::function<void()> canceller(asio::any_io_executor on) {
    return [weak = weak_from_this(), on] {
      asio::post(on, [weak] {
        if (const auto live = weak.lock()) live->finish(error(errc::cancelled, live->target));
      });
    };
  }

  /// Whether this step failed, or the attempt was over before it ended.
  bool failed(const error_code& code, errc otherwise) {
    if (!done) return true;
    if (!code) return false;
    const auto known = to_errc(code);
    const bool named = known == errc::connect_refused || known == errc::unreachable || known == errc::too_many_files ||
                       known == errc::address_unavailable;
    // The error's own text says as much as the system's.
    const bool said = known == errc::connect_refused;
    finish(error(named ? known : otherwise, said ? target : fmt::format("{}: {}", target, code.message())));
    return true;
  }

  void connected(const error_code& code) {
    if (failed(code, errc::unreachable)) return;
    set_options(socket, limits);
    finish({});
  }

  socket_type socket;
  asio::ip::tcp::resolver resolver;
  asio::steady_timer timer;
  const tunables& limits;
  dialled done;
  std::string target;
  std::vector<std::byte> frame;
};

/// Reads a frame's header and body into `frame`, then calls next(code).
template <class Next>
void read_frame(socket_type& socket, std::vector<std::byte>& frame, Next next) {
  frame.resize(wire::header_size);
  asio::async_read(socket, asio::buffer(frame), [&socket, &frame, next](const error_code& code, std::size_t) {
    const auto header = code ? result<wire::frame_header>(errc::path_failed)
                             : wire::decode(std::span<const std::byte, wire::header_size>(frame));
    const auto length = header ? header->body_length : 0;
    if (length == 0 || length > wire::largest_greeting) return next(code);
    frame.resize(wire::header_size + length);
    asio::async_read(socket, asio::buffer(frame.data() + wire::header_size, length),
                     [next](const error_code& rest, std::size_t) { next(rest); });
  });
}

result<wire::frame_header> first_frame(const std::vector<std::byte>& frame) {
  const auto header = wire::decode(std::span<const std::byte, wire::header_size>(frame.data(), wire::header_size));
  if (header && header->body_length != frame.size() - wire::header_size) {
    return error(errc::protocol_error, fmt::format("a first frame of {} bytes", header->body_length));
  }
  return header;
}

} // namespace

result<address> parse_address(std::string_view text) {
  const auto whole = std::string(text);
  constexpr std::string_view scheme = "weft://";
  if (text.starts_with(scheme)) text.remove_prefix(scheme.size());
  const auto bad = [&whole](std::string_view what) {
    return error(errc::invalid_url, fmt::format("'{}': {}", whole, what));
  };
  std::string_view host;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad("no ] behind the address");
    host = text.substr(1, end - 1);
    text.remove_prefix(end + 1);
  } else {
    host = text.substr(0, text.find(':'));
    text.remove_prefix(host.size());
    if (text.find(':', 1) != std::string_view::npos) return bad("an IPv6 address needs brackets");
  }
  if (host.empty()) return bad("no host");
  if (!text.starts_with(':') || text.size() == 1) return bad("no port");
  text.remove_prefix(1);
  std::uint16_t port = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (failure != std::errc{} || end != text.data() + text.size()) return bad("the port is no number up to 65535");
  return address{std::string(host), std::string(text)};
}

result<void> check_options(const tunables& limits) {
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return error(errc::os_failure, fmt::format("socket: {}", std::strerror(errno)));
  const bool allowed = set_congestion(probe, limits.tcp_congestion);
  const auto why = allowed ? std::string() : std::string(std::strerror(errno));
  ::close(probe);
  if (allowed) return {};
  return error(
      errc::invalid_config,
      fmt::format("tcp.congestion={}: {}; this host allows what net.ipv4.tcp_available_congestion_control and, "
                  "for other users than root, tcp_allowed_congestion_control list",
                  name(limits.tcp_congestion), why));
}

void set_options(socket_type& socket, const tunables& limits) {
  using std::chrono::duration_cast;
  const auto seconds = static_cast<int>(duration_cast<std::chrono::seconds>(limits.tcp_keepalive).count());
  const auto user = static_cast<int>(duration_cast<std::chrono::milliseconds>(limits.tcp_user_timeout).count());
  ::fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, user);
  set_congestion(socket.native_handle(), limits.tcp_congestion);
  // Setting a size ends the kernel's own tuning, which is better than most figures.
  if (const auto size = limits.tcp_send_buffer.value(); size > 0) {
    set_option(socket, SOL_SOCKET, SO_SNDBUF, static_cast<int>(size));
  }
  if (const auto size = limits.tcp_receive_buffer.value(); size > 0) {
    set_option(socket, SOL_SOCKET, SO_RCVBUF, static_cast<int>(size));
  }
}

void mark(socket_type& socket, lanes::marks with) {
  error_code code;
  const bool v6 = socket.local_endpoint(code).protocol() == asio::ip::tcp::v6();
  set_option(socket, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS, with.dscp << 2);
  set_option(socket, SOL_SOCKET, SO_PRIORITY, with.priority); // last: IP_TOS sets one too
}

std::function<void()> dial(asio::any_io_executor on, const address& to, duration limit, const tunables& limits,
                           dialled done) {
  auto self = std::make_shared<attempt>(on, limits, std::move(done));
  self->target = fmt::format("{}:{}", to.host, to.port);
  self->limit_to(limit);
  // An address needs no resolver, whose one thread may be waiting for a name of somebody else's.
  error_code no_address;
  if (const auto numeric = asio::ip::make_address(to.host, no_address); !no_address) {
    const auto port = static_cast<std::uint16_t>(std::stoul(to.port));
    self->socket.async_connect({numeric, port}, [self](const error_code& code) { self->connected(code); });
    return self->canceller(on);
  }
  self->resolver.async_resolve(to.host, to.port, [self](const error_code& code, const auto& found) {
    if (self->failed(code, errc::name_unresolved)) return;
    asio::async_connect(self->socket, found, [self](const error_code& done, const auto&) { self->connected(done); });
  });
  return self->canceller(on);
}

void dial_channel(asio::any_io_executor on, const asio::ip::tcp::endpoint& to, const wire::channel_hello& hello,
                  duration limit, const tunables& limits, dialled done) {
  auto self = std::make_shared<attempt>(on, limits, std::move(done));
  self->target = to_text(to);
  self->limit_to(limit);
  std::vector<std::byte> body;
  wire::encode(hello, body);
  self->frame.resize(wire::header_size);
  wire::encode({.type = wire::frame_type::channel_hello, .body_length = static_cast<std::uint32_t>(body.size())},
               std::span<std::byte, wire::header_size>(self->frame));
  self->frame.insert(self->frame.end(), body.begin(), body.end());
  self->socket.async_connect(to, [self](const error_code& code) {
    if (self->failed(code, errc::unreachable)) return;
    set_options(self->socket, self->limits);
    asio::async_write(self->socket, asio::buffer(self->frame), [self](const error_code& sent, std::size_t) {
      if (self->failed(sent, errc::path_failed)) return;
      read_frame(self->socket, self->frame, [self](const error_code& answered) {
        if (self->failed(answered, errc::path_failed)) return;
        const auto header = first_frame(self->frame);
        if (!header) return self->finish(header.error());
        if (header->type == wire::frame_type::channel_answer) return self->finish({});
        self->finish(error(wire::reason_of(header->code, errc::protocol_error), self->target + " refused a channel"));
      });
    });
  });
}

void greet(socket_type accepted, duration limit, greeted done) {
  struct waiting {
    waiting(socket_type from, greeted then)
        : socket(std::move(from)), timer(socket.get_executor()), done(std::move(then)) {}
    socket_type socket;
    asio::steady_timer timer;
    greeted done;
    std::vector<std::byte> frame;
  };
  auto self = std::make_shared<waiting>(std::move(accepted), std::move(done));
  self->timer.expires_after(limit);
  self->timer.async_wait([self](const error_code& code) {
    error_code ignored;
    if (!code) self->socket.close(ignored);
  });
  read_frame(self->socket, self->frame, [self](const error_code& code) {
    self->timer.cancel();
    if (code) return self->done(error(errc::peer_unresponsive, "no greeting"), std::move(self->socket), {}, {});
    const auto header = first_frame(self->frame);
    if (!header) return self->done(header.error(), std::move(self->socket), {}, {});
    self->done({}, std::move(self->socket), *header, std::span(self->frame).subspan(wire::header_size));
  });
}

void refuse(socket_type socket, errc why) {
  auto bytes = std::make_shared<std::array<std::byte, wire::header_size>>();
  wire::encode({.type = wire::frame_type::refusal, .code = static_cast<std::uint32_t>(why)}, *bytes);
  auto kept = std::make_shared<socket_type>(std::move(socket));
  asio::async_write(*kept, asio::buffer(*bytes), [kept, bytes](const error_code&, std::size_t) {});
}

} // namespace weft::path::tcp
