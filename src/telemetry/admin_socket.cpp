// A request is a line: "show", or "set NAME=VALUE..." with the names of lanes' settings, with or without "lane." before
// them. The answer is a JSON document, with "error" where it did not succeed.
#include "weft/admin_socket.hpp"

#include "fabric/fabric_core.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/write.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <istream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

namespace weft {
namespace {

namespace asio = boost::asio;
using protocol = asio::local::stream_protocol;
using nlohmann::ordered_json;

constexpr std::size_t longest_request = 4096;
constexpr auto patience = std::chrono::seconds(2); ///< for a request to come, and its answer to be taken

ordered_json failure(const error& why) {
  return {{"error",
           {{"code", name(why.code())},
            {"where", why.where()},
            {"text", make_error_code(why.code()).message()},
            {"hint", hint(why.code())}}}};
}

ordered_json lane_json(const fabrics::fabric_core& on, lane which, const lane_metrics& counted) {
  ordered_json document = {{"lane", name(which)}};
  for (const auto* key : {"weight", "reservation", "limit"}) {
    const auto value = on.get(fmt::format("lane.{}.{}", name(which), key));
    if (value) document[key] = *value;
  }
  document["slices_sent"] = counted.slices_sent;
  document["bytes_sent"] = counted.bytes_sent;
  document["bytes_delivered"] = counted.bytes_delivered;
  document["bytes_received"] = counted.bytes_received;
  return document;
}

/// The counts by what they took less than, in nanoseconds; those of none are left out.
ordered_json lag_json(const lag_metrics& of) {
  auto counts = ordered_json::array();
  for (std::size_t i = 0; i < of.counts.size(); ++i) {
    if (of.counts[i] > 0) counts.push_back({{"below_ns", lag_metrics::bound(i).count()}, {"count", of.counts[i]}});
  }
  return {{"count", of.total()},
          {"p50_below_ns", of.below(0.5).count()},
          {"p99_below_ns", of.below(0.99).count()},
          {"histogram", std::move(counts)}};
}

ordered_json show(const fabrics::fabric_core& on) {
  const auto counted = on.snapshot();
  auto lanes = ordered_json::array();
  for (std::size_t i = 0; i < lane_count; ++i) {
    lanes.push_back(lane_json(on, static_cast<lane>(i), counted.lanes[i]));
  }
  auto rails = ordered_json::array();
  for (const auto& [name, budget, waits, arrival] : counted.rails) {
    rails.push_back(
        {{"rail", name},
         {"realtime_arrival", lag_json(arrival)},
         {"budget", {{"limit", budget.limit}, {"under_way", budget.under_way}, {"crowded", budget.crowded}}},
         {"waits", {{"budget", waits.budget}, {"limit", waits.limit}, {"channel", waits.channel}}}});
  }
  return {{"name", on.name()},
          {"pid", ::getpid()},
          {"lanes", std::move(lanes)},
          {"refused", counted.refused},
          {"broken_links", counted.broken_links},
          {"tcp_fallbacks", counted.tcp_fallbacks},
          {"realtime_demoted", counted.realtime_demoted},
          {"realtime_pickup", lag_json(counted.realtime_pickup)},
          {"rails", std::move(rails)}};
}

ordered_json answer(fabrics::fabric_core& on, const std::string& request) {
  std::istringstream words(request);
  std::string word;
  words >> word;
  if (word == "show") return show(on);
  if (word != "set") return failure({errc::invalid_argument, fmt::format("\"{}\": no such request", word)});
  std::vector<std::pair<std::string, std::string>> values;
  while (words >> word) {
    const auto equals = word.find('=');
    if (equals == word.npos) {
      return failure({errc::invalid_argument, fmt::format("\"{}\": it needs the form NAME=VALUE", word)});
    }
    auto setting = word.substr(0, equals);
    if (!setting.starts_with("lane.") && !setting.starts_with("rail.")) setting = "lane." + setting;
    values.emplace_back(std::move(setting), word.substr(equals + 1));
  }
  const auto done = on.set(values);
  return done ? show(on) : failure(done.error());
}

} // namespace

class admin_socket::server {
public:
  server(std::shared_ptr<fabrics::fabric_core> on, std::string path)
      : on_(std::move(on)), path_(std::move(path)), acceptor_(context_) {}

  ~server() {
    if (thread_.joinable()) {
      context_.stop();
      thread_.join();
    }
    // Another process may have taken the path meanwhile.
    struct ::stat found {};
    if (made_ != 0 && ::lstat(path_.c_str(), &found) == 0 && found.st_ino == made_) ::unlink(path_.c_str());
  }

  [[nodiscard]] bool forked() const noexcept { return on_->forked(); }

  result<void> open() {
    const auto temporary = fmt::format("{}.{}", path_, ::getpid());
    if (path_.empty() || path_.find('\0') != path_.npos || temporary.size() >= sizeof(sockaddr_un::sun_path)) {
      return error(errc::invalid_argument, fmt::format("{}: the path of a socket is 1 to {} bytes long", path_,
                                                       sizeof(sockaddr_un::sun_path) - 12));
    }
    if (const auto free = look(); !free) return free;
    error_code code;
    acceptor_.open(protocol(), code);
    if (!code) close_on_exec(acceptor_.native_handle());
    // Before it is bound: the path has these permissions from its first moment on.
    if (!code && ::fchmod(acceptor_.native_handle(), S_IRUSR | S_IWUSR) != 0) code = last_error();
    // Under another name until somebody listens: an abandoned socket is replaced at once, a live one never.
    ::unlink(temporary.c_str());
    if (!code) acceptor_.bind(protocol::endpoint(temporary), code);
    if (!code) acceptor_.listen(asio::socket_base::max_listen_connections, code);
    struct ::stat found {};
    if (!code && ::lstat(temporary.c_str(), &found) != 0) code = last_error();
    if (!code && ::rename(temporary.c_str(), path_.c_str()) != 0) code = last_error();
    if (code) {
      ::unlink(temporary.c_str());
      return error(errc::io_error, fmt::format("{}: {}", path_, code.message()));
    }
    made_ = found.st_ino;
    accept();
    thread_ = std::thread([this] { context_.run(); });
    ::pthread_setname_np(thread_.native_handle(), "weft-admin");
    return {};
  }

private:
  struct visit {
    explicit visit(protocol::socket from) : socket(std::move(from)), timer(socket.get_executor()) {}
    protocol::socket socket;
    asio::steady_timer timer;
    asio::streambuf request{longest_request};
    std::string text;
  };

  static void close_on_exec(int descriptor) noexcept { ::fcntl(descriptor, F_SETFD, FD_CLOEXEC); }
  static error_code last_error() noexcept { return {errno, boost::system::system_category()}; }

  /// Whether the path is free, or that of a socket which a process left behind.
  result<void> look() {
    struct ::stat found {};
    if (::lstat(path_.c_str(), &found) != 0) return {};
    if (!S_ISSOCK(found.st_mode))
      return error(errc::address_in_use, fmt::format("{}: it is there, and no socket", path_));
    protocol::socket probe(context_);
    error_code code;
    probe.connect(protocol::endpoint(path_), code);
    if (code == asio::error::connection_refused) return {};
    return error(errc::address_in_use, fmt::format("{}: {}", path_, code ? code.message() : "somebody listens there"));
  }

  void accept() {
    acceptor_.async_accept([this](const error_code& code, protocol::socket from) {
      if (code == asio::error::operation_aborted) return;
      if (!code) serve(std::make_shared<visit>(std::move(from)));
      if (!code) return accept();
      // Out of descriptors, say.
      pause_.expires_after(std::chrono::milliseconds(100));
      pause_.async_wait([this](const error_code& stopped) {
        if (!stopped) accept();
      });
    });
  }

  void serve(const std::shared_ptr<visit>& with) {
    close_on_exec(with->socket.native_handle());
    with->timer.expires_after(patience);
    with->timer.async_wait([with](const error_code& code) {
      error_code ignored;
      if (!code) with->socket.close(ignored);
    });
    asio::async_read_until(with->socket, with->request, '\n', [this, with](const error_code& code, std::size_t) {
      if (code) {
        with->timer.cancel();
        return;
      }
      std::istream in(&with->request);
      std::string line;
      std::getline(in, line);
      with->text = answer(*on_, line).dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n';
      asio::async_write(with->socket, asio::buffer(with->text), [with](const error_code&, std::size_t) {
        // A child of this process may hold the descriptor too; the visitor is to see the end.
        error_code ignored;
        with->socket.shutdown(protocol::socket::shutdown_both, ignored);
        with->timer.cancel();
      });
    });
  }

  const std::shared_ptr<fabrics::fabric_core> on_;
  const std::string path_;
  asio::io_context context_{1};
  protocol::acceptor acceptor_;
  asio::steady_timer pause_{context_};
  ino_t made_ = 0; ///< the path's file
  std::thread thread_;
};

admin_socket::admin_socket(std::unique_ptr<server> made) noexcept : server_(std::move(made)) {}
admin_socket::admin_socket(admin_socket&&) noexcept = default;
admin_socket& admin_socket::operator=(admin_socket&& other) noexcept {
  admin_socket(std::move(other)).server_.swap(server_);
  return *this;
}
admin_socket::~admin_socket() {
  // A child of the process has no thread to join, and the path is not its own.
  if (server_ && server_->forked()) static_cast<void>(server_.release());
}

result<admin_socket> admin_socket::open(fabric& on, const std::string& path) {
  if (on.core()->forked()) return error(errc::forked);
  try {
    auto made = std::make_unique<server>(on.core(), path);
    if (const auto opened = made->open(); !opened) return opened.error();
    return admin_socket(std::move(made));
  } catch (const std::runtime_error& refused) { // no more descriptors or threads, say
    return error(errc::os_failure, fmt::format("{}: {}", path, refused.what()));
  }
}

} // namespace weft
