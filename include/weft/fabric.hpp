// Everything one process has of Weft: its threads, memory, links and what it offers to peers.
#pragma once

#include <weft/config.hpp>
#include <weft/link.hpp>
#include <weft/metrics.hpp>
#include <weft/region.hpp>
#include <weft/units.hpp>

#include <boost/asio/any_io_executor.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

namespace fabrics {
class fabric_core;
struct reply_slot;
} // namespace fabrics

/// A request of a peer. Answer it once, on any thread, now or later; one that is destroyed unanswered is answered with
/// handler_failed.
class WEFT_API incoming_request {
public:
  explicit incoming_request(std::unique_ptr<fabrics::reply_slot> slot) noexcept;
  incoming_request(incoming_request&&) noexcept;
  incoming_request& operator=(incoming_request&&) noexcept;
  ~incoming_request();

  [[nodiscard]] std::span<const std::byte> payload() const noexcept;
  [[nodiscard]] weft::lane lane() const noexcept;
  [[nodiscard]] const std::string& peer() const noexcept;

  /// At most 64 KiB, copied.
  void reply(std::span<const std::byte> payload);
  void fail(errc code, std::string_view where);

private:
  std::unique_ptr<fabrics::reply_slot> slot_;
};

/// Data that a peer wrote into a published region arrived whole, with these words.
struct notification {
  std::string peer;
  std::string region; ///< the name it was published as
  std::vector<std::byte> payload;
};

using request_handler = std::function<void(incoming_request)>;
using notification_handler = std::function<void(notification)>;

struct connect_options {
  /// From now until the link stands (tunable connect.timeout).
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
};

/// A process's part in the network: threads of its own (one for realtime, threads.data for the rest) drive everything,
/// so that progress never waits for a caller. An idle fabric uses no CPU, unless poll=spin asks for it. Thread-safe,
/// but for its construction and destruction.
class WEFT_API fabric {
public:
  /// Starts the threads, and listens if the configuration says where. Errors: invalid_config, address_in_use,
  /// address_unavailable, name_unresolved, os_failure.
  [[nodiscard]] static result<fabric> open(const config& settings);
  /// open().value(): throws boost::system::system_error.
  explicit fabric(const config& settings);
  fabric(fabric&&) noexcept;
  fabric& operator=(fabric&&) noexcept;
  /// Closes without waiting for peers; every outstanding operation completes with `closed` first.
  ~fabric();

  [[nodiscard]] const std::string& name() const noexcept;
  /// HOST:PORT as bound, the port chosen by the system included; empty when it does not listen.
  [[nodiscard]] const std::string& address() const noexcept;

  /// Registers the caller's memory, which must outlive its use by transfers. Errors: out_of_memory.
  [[nodiscard]] result<region> register_memory(std::span<std::byte> bytes);
  /// Memory of Weft's own: page-aligned, zeroed, registered, freed with its last handle. Errors: out_of_memory.
  [[nodiscard]] result<region> allocate(byte_count size);

  /// Links to the process that listens at `address`: HOST:PORT, [V6]:PORT, or either behind weft://. Errors:
  /// invalid_url, name_unresolved, connect_refused, unreachable, not_weft, peer_unresponsive (it accepts and says
  /// nothing), version_mismatch, peer_closed, name_in_use, deadline_exceeded, cancelled, closed.
  /// In a child of the process that opened the fabric every operation answers `forked`, and nothing is touched.
  template <class Token>
  auto connect(std::string_view address, connect_options options, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code, link)>(
        [core = core_, address = std::string(address), options](auto&& handler) mutable {
          start_connect(core, std::move(address), options, std::forward<decltype(handler)>(handler));
        },
        token);
  }
  template <class Token>
  auto connect(std::string_view address, Token&& token) {
    return connect(address, connect_options{}, std::forward<Token>(token));
  }

  /// Lets every peer open `part` under `name` (up to 255 bytes). A name that is published already is an
  /// invalid_argument.
  [[nodiscard]] result<void> publish(region_view part, std::string_view name, rights allowed);
  /// Ends a publication: transfers that use it end with `revoked` at the peer; completes after their fences, when no
  /// peer reads or writes the memory any more. Errors: not_found.
  template <class Token>
  auto revoke(std::string_view name, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code)>(
        [core = core_, name = std::string(name)](auto&& handler) mutable {
          start_revoke(core, std::move(name), std::forward<decltype(handler)>(handler));
        },
        token);
  }

  /// Answers the requests of all peers, from now on. With an executor the handler runs there, else inline on the
  /// thread of the request's lane, where it must not block.
  void on_request(request_handler handler, boost::asio::any_io_executor executor = {});
  void on_notification(notification_handler handler, boost::asio::any_io_executor executor = {});

  /// The executor of a lane's thread: a caller that lives there has no hand-off to it. Where there are several
  /// (threads.data), link::executor tells a link's own.
  [[nodiscard]] boost::asio::any_io_executor executor(lane of) const;

  [[nodiscard]] metrics snapshot() const;

  /// Gives hot settings other values while everything runs: all of them, in force from the next quantum on, or none,
  /// and the old ones stay. Errors: invalid_config, naming what is wrong; forked.
  [[nodiscard]] result<void> set(const std::vector<std::pair<std::string, std::string>>& values);
  /// The value of a setting in force, as a file would have it. Errors: invalid_config.
  [[nodiscard]] result<std::string> get(std::string_view name) const;

  /// Refuses new work, waits up to `patience` for outstanding operations, ends what is left with `closed`, and
  /// completes after every fence. The fabric stays usable for nothing but destruction.
  template <class Token>
  auto close(std::chrono::nanoseconds patience, Token&& token) {
    return boost::asio::async_initiate<Token, void(error_code)>(
        [core = core_, patience](auto&& handler) mutable {
          start_close(core, patience, std::forward<decltype(handler)>(handler));
        },
        token);
  }

  /// For the parts of Weft that stand on a fabric.
  [[nodiscard]] const std::shared_ptr<fabrics::fabric_core>& core() const noexcept { return core_; }

private:
  using void_handler = boost::asio::any_completion_handler<void(error_code)>;

  explicit fabric(std::shared_ptr<fabrics::fabric_core> core) noexcept;
  static void start_connect(const std::shared_ptr<fabrics::fabric_core>& core, std::string address,
                            connect_options options, handler_of<link> handler);
  static void start_revoke(const std::shared_ptr<fabrics::fabric_core>& core, std::string name, void_handler handler);
  static void start_close(const std::shared_ptr<fabrics::fabric_core>& core, std::chrono::nanoseconds patience,
                          void_handler handler);

  std::shared_ptr<fabrics::fabric_core> core_;
};

} // namespace weft
