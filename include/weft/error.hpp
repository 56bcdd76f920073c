// Every way in which Weft can fail: one closed enum in ranges by what broke, each value with a text and a hint.
// Errors are values: synchronous calls return result<T>, asynchronous ones complete with (error_code, T).
#pragma once

#include <weft/export.hpp>

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <string>
#include <string_view>
#include <type_traits>

namespace weft {

using boost::system::error_code;

/// What went wrong. The hundreds say what is affected: 1 the caller's argument, 2 a resource of this process, 3 a path,
/// 4 the peer, 5 policy, 6 data, 7 storage. The list is closed: no other value ever reaches a caller.
enum class errc {
  // 1xx argument: nothing was sent; the same call will fail again.
  invalid_argument = 100, ///< a value is out of range or contradicts another
  invalid_config,         ///< a configuration file, variable or option cannot be used
  invalid_url,            ///< not weft://HOST:PORT[,HOST:PORT...][/NAME]
  invalid_name,           ///< a shard, region or peer name that may not be used
  out_of_region,          ///< a piece lies outside its region
  length_mismatch,        ///< the lengths of the two sides of a transfer differ
  too_large,              ///< more than the limit for such a value

  // 2xx resource: this process or host has not enough of something.
  queue_full = 200,    ///< the bound on outstanding operations or bytes is reached
  out_of_memory,       ///< memory could not be had or registered
  too_many_files,      ///< the limit on open descriptors is reached
  closed,              ///< the fabric, link or server was closed by this process
  cancelled,           ///< the caller cancelled the operation
  address_in_use,      ///< the address to listen on is taken
  address_unavailable, ///< the address to listen on or to bind is not one of this host's
  name_unresolved,     ///< a host name has no address
  os_failure,          ///< the operating system refused a call for another reason
  forked,              ///< this process is the child of a fork: the fabric belongs to the parent

  // 3xx path: a route to the peer failed; others may work.
  path_failed = 300, ///< a connection or queue pair broke
  connect_refused,   ///< nothing listens at that address
  unreachable,       ///< no route, or no answer to the connection attempt
  no_path,           ///< no path that may be used is left

  // 4xx peer: the other process.
  peer_lost = 400,   ///< no session with the peer for longer than session_grace
  peer_restarted,    ///< the peer came back as another incarnation: what it granted is gone
  peer_unresponsive, ///< the connection lives, but the peer made no progress for `stall`
  peer_closed,       ///< the peer closed its fabric
  not_weft,          ///< what answered does not speak Weft's protocol
  version_mismatch,  ///< the peer speaks no version in common with this library
  protocol_error,    ///< the peer broke the protocol; its link was closed
  deadline_exceeded, ///< the operation's deadline passed
  no_handler,        ///< the peer has no handler for this kind of request
  handler_failed,    ///< the peer's handler ended without an answer
  name_in_use,       ///< a live process already has this peer name

  // 5xx policy: it would have been possible, and is not allowed.
  policy_denied = 500, ///< no permitted path, or not permitted for this caller
  permission_denied,   ///< the right (read, write) was not granted
  revoked,             ///< the grant was revoked
  limit_exceeded,      ///< the peer's limit for this client is reached; try again later

  // 6xx data.
  checksum_mismatch = 600, ///< bytes differ from their checksum; the result names the stage
  not_found,               ///< no such shard, region or version
  conflict,                ///< the same version exists with other contents
  bad_manifest,            ///< a stored manifest is damaged or of an unknown version
  not_enough_copies,       ///< fewer replicas than min_copies hold the shard

  // 7xx storage.
  no_space = 700, ///< the store is full, or under its low-space mark
  read_only,      ///< the store cannot be written
  io_error,       ///< the device answered with an error
};

/// "checksum_mismatch": the name as it stands in the enum, for logs and JSON.
[[nodiscard]] WEFT_API std::string_view name(errc value) noexcept;
/// One sentence: what to do about it.
[[nodiscard]] WEFT_API std::string_view hint(errc value) noexcept;
/// The category of errc; message() gives the text.
[[nodiscard]] WEFT_API const boost::system::error_category& error_category() noexcept;

inline error_code make_error_code(errc value) noexcept {
  return {static_cast<int>(value), error_category()};
}

/// Weft's value behind an error_code; for codes of other categories the nearest one.
[[nodiscard]] WEFT_API errc to_errc(const error_code& code) noexcept;

/// An error with its circumstances: what failed and where, in words.
class WEFT_API error {
public:
  error() = default; ///< no error: what result::error() gives where there is none
  error(errc code) : code_(code) {}
  error(errc code, std::string where) : code_(code), where_(std::move(where)) {}

  [[nodiscard]] errc code() const noexcept { return code_; }
  /// What, where: free of the text that the code itself has. May be empty.
  [[nodiscard]] const std::string& where() const noexcept { return where_; }
  /// "<where>: <text> (<hint>)".
  [[nodiscard]] std::string message() const;

  friend bool operator==(const error& left, errc right) noexcept { return left.code_ == right; }

private:
  errc code_{};
  std::string where_;
};

/// Found by boost::system::result when value() is asked of an error: throws boost::system::system_error.
[[noreturn]] WEFT_API void throw_exception_from_error(const error& failure, const boost::source_location& at);

template <class T>
using result = boost::system::result<T, error>;

} // namespace weft

template <>
struct boost::system::is_error_code_enum<weft::errc> : std::true_type {};
