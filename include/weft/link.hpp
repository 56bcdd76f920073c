// The relation with one peer: requests to it, and transfers from and to the memory it published.
#pragma once

#include <weft/inspect.hpp>
#include <weft/options.hpp>
#include <weft/region.hpp>

#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

namespace fabrics {
class link_core;
}

template <class Result>
using handler_of = boost::asio::any_completion_handler<void(error_code, Result)>;

/// A handle to a link; copies name the same one. It stays until it is closed at either end, the peer is lost, or the
/// fabric is closed. Thread-safe. Every operation takes any completion token and the cancellation slot of its handler,
/// completes once with (error_code, result) on the handler's executor, never inside the call, and by its deadline plus
/// the time of its fence. After the completion nothing reads or writes the operation's memory. Errors of every
/// operation: closed, cancelled, forked, queue_full, deadline_exceeded, peer_lost, peer_restarted, peer_closed,
/// protocol_error, limit_exceeded, policy_denied; of transfers also out_of_region, length_mismatch,
/// peer_unresponsive, permission_denied, revoked, checksum_mismatch.
class WEFT_API link {
public:
  link() = default;
  explicit link(std::shared_ptr<fabrics::link_core> core) : core_(std::move(core)) {}

  [[nodiscard]] explicit operator bool() const noexcept { return core_ != nullptr; }
  /// The name that the peer gave itself.
  [[nodiscard]] const std::string& peer() const;
  /// Whether operations may still succeed: false once the link has ended.
  [[nodiscard]] bool alive() const noexcept;

  /// The executor of the thread that carries a lane of this link: a caller that lives there has no hand-off to it.
  [[nodiscard]] boost::asio::any_io_executor executor(lane of) const;

  /// Finds what the peer published as `name`. Errors: not_found.
  template <class Token>
  auto open(std::string_view name, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code, remote_region)>(
        [self = *this, name = std::string(name)](auto&& handler) mutable {
          self.start_open(std::move(name), std::forward<decltype(handler)>(handler));
        },
        token);
  }

  /// Writes `from` to `to`, of the same length; complete when the peer has verified every byte.
  template <class Token>
  auto write(region_view from, remote_view to, transfer_options options, Token&& token) {
    return start<transfer_result>(&link::start_transfer, token, direction::write, whole(from, to), from, to,
                                  std::move(options));
  }
  /// Writes many pieces, offsets relative to `from` and `to`; completes once.
  template <class Token>
  auto write(region_view from, remote_view to, std::vector<piece> pieces, transfer_options options, Token&& token) {
    return start<transfer_result>(&link::start_transfer, token, direction::write, std::move(pieces), from, to,
                                  std::move(options));
  }

  /// Reads `from` into `to`, of the same length; complete when every byte is verified here.
  template <class Token>
  auto read(remote_view from, region_view to, transfer_options options, Token&& token) {
    return start<transfer_result>(&link::start_transfer, token, direction::read, whole(to, from), to, from,
                                  std::move(options));
  }
  template <class Token>
  auto read(remote_view from, region_view to, std::vector<piece> pieces, transfer_options options, Token&& token) {
    return start<transfer_result>(&link::start_transfer, token, direction::read, std::move(pieces), to, from,
                                  std::move(options));
  }

  /// Sends up to request.max bytes (copied during the initiation) to the peer's request handler, which runs at most
  /// once. Errors also: no_handler, handler_failed, too_large.
  template <class Token>
  auto request(std::span<const std::byte> payload, request_options options, Token&& token) {
    return start<response>(&link::start_request, token, payload, std::move(options));
  }

  /// Tries every way to the peer, within connect.timeout and probe.timeout. Of a link that was made by connect().
  /// Errors: closed and what else ended the link.
  template <class Token>
  auto inspect_paths(Token&& token) {
    return start<std::vector<path_status>>(&link::start_inspection, token);
  }

  /// Ends the link: outstanding operations complete with `closed` after their fences, and the peer is told.
  void close();

private:
  enum class direction : std::uint8_t { write, read };

  template <class Result, class Start, class Token, class... Arguments>
  auto start(Start member, Token& token, Arguments... arguments) {
    return boost::asio::async_initiate<Token, void(error_code, Result)>(
        [self = *this, member](auto&& handler, auto&&... values) mutable {
          (self.*member)(std::forward<decltype(values)>(values)..., std::forward<decltype(handler)>(handler));
        },
        token, std::move(arguments)...);
  }

  static std::vector<piece> whole(const region_view& local, const remote_view& remote);

  void start_open(std::string name, handler_of<remote_region> handler);
  void start_transfer(direction way, std::vector<piece> pieces, region_view local, remote_view remote,
                      transfer_options options, handler_of<transfer_result> handler);
  void start_request(std::span<const std::byte> payload, request_options options, handler_of<response> handler);
  void start_inspection(handler_of<std::vector<path_status>> handler);

  std::shared_ptr<fabrics::link_core> core_;
};

} // namespace weft
