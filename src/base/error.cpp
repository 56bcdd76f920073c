// The texts and hints of the errors, and the way from the operating system's codes to Weft's.
// Constant tables and pure functions: any thread may call them.
#include <weft/error.hpp>

#include <boost/system/errc.hpp>
#include <boost/system/system_error.hpp>

#include <cerrno>

namespace weft {
namespace {

namespace system_errc = boost::system::errc;

struct error_row {
  errc value;
  std::string_view name;
  const char* text;
  std::string_view hint;
  /// The standard condition that this is a case of, so that code == boost::system::errc::timed_out works; success
  /// where there is none.
  system_errc::errc_t condition = system_errc::success;
};

constexpr error_row rows[] = {
    {errc::invalid_argument, "invalid_argument", "invalid argument", "correct the call; it will fail again as it is",
     system_errc::invalid_argument},
    {errc::invalid_config, "invalid_config", "invalid configuration",
     "`weft config explain` lists every setting with its range", system_errc::invalid_argument},
    {errc::invalid_url, "invalid_url", "invalid URL",
     "write weft://HOST:PORT[,HOST:PORT...][/NAME]; IPv6 as [::1]:PORT", system_errc::invalid_argument},
    {errc::invalid_name, "invalid_name", "invalid name", "use another name: UTF-8, no control characters, no . or ..",
     system_errc::invalid_argument},
    {errc::out_of_region, "out_of_region", "outside the region", "keep offset + length within the region's length",
     system_errc::invalid_argument},
    {errc::length_mismatch, "length_mismatch", "lengths differ", "give both sides of the transfer the same length",
     system_errc::invalid_argument},
    {errc::too_large, "too_large", "too large", "send it in smaller pieces, or as a transfer in place of a request",
     system_errc::value_too_large},

    {errc::queue_full, "queue_full", "too many outstanding operations",
     "wait for some to complete, or raise operations.max or operations.bytes",
     system_errc::resource_unavailable_try_again},
    {errc::out_of_memory, "out_of_memory", "out of memory",
     "free memory or raise the limit on locked memory (ulimit -l)", system_errc::not_enough_memory},
    {errc::too_many_files, "too_many_files", "too many open files", "raise the limit on open files (ulimit -n)",
     system_errc::too_many_files_open},
    {errc::closed, "closed", "closed", "this process closed it; open a new one"},
    {errc::cancelled, "cancelled", "cancelled", "the caller cancelled it; nothing to do",
     system_errc::operation_canceled},
    {errc::address_in_use, "address_in_use", "address in use",
     "another process listens there: stop it or choose another port", system_errc::address_in_use},
    {errc::address_unavailable, "address_unavailable", "address not available",
     "use an address of this host (`ip address` lists them)", system_errc::address_not_available},
    {errc::name_unresolved, "name_unresolved", "host name not resolved",
     "check the spelling and the resolver, or give an address"},
    {errc::os_failure, "os_failure", "the operating system refused a call", "the text before says which call and why"},
    {errc::forked, "forked", "used after fork", "open a fabric of its own in the child process"},

    {errc::path_failed, "path_failed", "connection failed", "retry; if it recurs, look at the network to this peer",
     system_errc::connection_reset},
    {errc::connect_refused, "connect_refused", "connection refused",
     "check that the peer runs and listens at this address and port", system_errc::connection_refused},
    {errc::unreachable, "unreachable", "peer unreachable", "check address, routes and firewalls on the way",
     system_errc::host_unreachable},
    {errc::no_path, "no_path", "no usable path", "every permitted path is down; `weft doctor` says why",
     system_errc::network_unreachable},

    {errc::peer_lost, "peer_lost", "peer lost", "it did not return within session.grace; connect again when it is back",
     system_errc::connection_reset},
    {errc::peer_restarted, "peer_restarted", "peer restarted", "open its regions anew and repeat the operation",
     system_errc::connection_reset},
    {errc::peer_unresponsive, "peer_unresponsive", "peer makes no progress",
     "look whether the peer is overloaded or stopped", system_errc::timed_out},
    {errc::peer_closed, "peer_closed", "peer closed", "the peer shut down in order; connect again when it is back",
     system_errc::connection_aborted},
    {errc::not_weft, "not_weft", "the peer does not speak Weft",
     "check the port: something else listens there, unless the peer was closed just then", system_errc::protocol_error},
    {errc::version_mismatch, "version_mismatch", "no common protocol version", "update the older of the two sides",
     system_errc::protocol_not_supported},
    {errc::protocol_error, "protocol_error", "the peer broke the protocol",
     "the link was closed; please report it with both versions", system_errc::protocol_error},
    {errc::deadline_exceeded, "deadline_exceeded", "deadline exceeded",
     "allow more time, or look for what slows the peer", system_errc::timed_out},
    {errc::no_handler, "no_handler", "the peer has no handler", "set a request handler on the peer before connecting",
     system_errc::operation_not_supported},
    {errc::handler_failed, "handler_failed", "the peer's handler failed", "look into the peer's log"},
    {errc::name_in_use, "name_in_use", "peer name in use", "give each process a peer.name of its own"},

    {errc::policy_denied, "policy_denied", "denied by policy", "change the policy, or use a permitted path",
     system_errc::permission_denied},
    {errc::permission_denied, "permission_denied", "permission denied", "ask the owner for the right that is missing",
     system_errc::permission_denied},
    {errc::revoked, "revoked", "grant revoked", "open the region again, if it is still published",
     system_errc::permission_denied},
    {errc::limit_exceeded, "limit_exceeded", "the peer's limit is reached", "try again later, with fewer at once",
     system_errc::resource_unavailable_try_again},

    {errc::checksum_mismatch, "checksum_mismatch", "checksum mismatch",
     "fetch from another replica; `weft verify` finds damaged shards", system_errc::bad_message},
    {errc::not_found, "not_found", "not found", "`weft ls` lists what is there",
     system_errc::no_such_file_or_directory},
    {errc::conflict, "conflict", "version exists with other contents", "put it as a new version",
     system_errc::file_exists},
    {errc::bad_manifest, "bad_manifest", "damaged manifest", "put the shard again, or copy it from another replica",
     system_errc::bad_message},
    {errc::not_enough_copies, "not_enough_copies", "not enough copies",
     "repeat the put when more replicas are up, or lower min_copies"},

    {errc::no_space, "no_space", "no space left", "free space in the store or use another",
     system_errc::no_space_on_device},
    {errc::read_only, "read_only", "read-only storage", "mount it writable or use another store",
     system_errc::read_only_file_system},
    {errc::io_error, "io_error", "storage error", "look into the kernel's log: the device may be failing",
     system_errc::io_error},
};

const error_row* find(int value) noexcept {
  for (const error_row& row : rows) {
    if (static_cast<int>(row.value) == value) return &row;
  }
  return nullptr;
}

class weft_category final : public boost::system::error_category {
public:
  // With an id of its own, codes compare equal also when two copies of the library are in one process.
  constexpr weft_category() noexcept : error_category(0x5765667445727243u) {}

  [[nodiscard]] const char* name() const noexcept override { return "weft"; }
  [[nodiscard]] std::string message(int value) const override {
    const error_row* row = find(value);
    return row != nullptr ? row->text : "unknown error " + std::to_string(value);
  }
  [[nodiscard]] boost::system::error_condition default_error_condition(int value) const noexcept override {
    const error_row* row = find(value);
    if (row == nullptr || row->condition == system_errc::success) return {value, *this};
    return system_errc::make_error_condition(row->condition);
  }
};

struct condition_row {
  system_errc::errc_t condition;
  errc value;
};

constexpr condition_row conditions[] = {
    {system_errc::connection_refused, errc::connect_refused},
    {system_errc::connection_reset, errc::path_failed},
    {system_errc::connection_aborted, errc::path_failed},
    {system_errc::broken_pipe, errc::path_failed},
    {system_errc::not_connected, errc::path_failed},
    {system_errc::network_reset, errc::path_failed},
    {system_errc::timed_out, errc::unreachable},
    {system_errc::host_unreachable, errc::unreachable},
    {system_errc::network_unreachable, errc::unreachable},
    {system_errc::network_down, errc::unreachable},
    {system_errc::operation_canceled, errc::cancelled},
    {system_errc::address_in_use, errc::address_in_use},
    {system_errc::address_not_available, errc::address_unavailable},
    {system_errc::not_enough_memory, errc::out_of_memory},
    {system_errc::no_buffer_space, errc::out_of_memory},
    {system_errc::too_many_files_open, errc::too_many_files},
    {system_errc::too_many_files_open_in_system, errc::too_many_files},
    {system_errc::bad_file_descriptor, errc::closed},
    {system_errc::no_space_on_device, errc::no_space},
    {system_errc::read_only_file_system, errc::read_only},
    {system_errc::io_error, errc::io_error},
    {system_errc::no_such_file_or_directory, errc::not_found},
    {system_errc::file_too_large, errc::too_large},
    {system_errc::permission_denied, errc::permission_denied},
    {system_errc::operation_not_permitted, errc::permission_denied},
    {system_errc::invalid_argument, errc::invalid_argument},
};

} // namespace

std::string_view name(errc value) noexcept {
  const error_row* row = find(static_cast<int>(value));
  return row != nullptr ? row->name : "unknown";
}

std::string_view hint(errc value) noexcept {
  const error_row* row = find(static_cast<int>(value));
  return row != nullptr ? row->hint : "";
}

const boost::system::error_category& error_category() noexcept {
  static constexpr weft_category category;
  return category;
}

errc to_errc(const error_code& code) noexcept {
  if (code.category() == error_category()) {
    return find(code.value()) != nullptr ? static_cast<errc>(code.value()) : errc::os_failure;
  }
  // Asio's own categories are known by name: its headers stay out of src/base. 2 is its end of file.
  const std::string_view category = code.category().name();
  if (category == "asio.misc" && code.value() == 2) return errc::path_failed;
  if (category == "asio.netdb" || category == "asio.addrinfo") return errc::name_unresolved;
  // No portable condition stands for a full quota or a host that is down.
  if (category == "system" && code.value() == EDQUOT) return errc::no_space;
  if (category == "system" && code.value() == EHOSTDOWN) return errc::unreachable;
  for (const condition_row& row : conditions) {
    if (code == row.condition) return row.value;
  }
  return errc::os_failure;
}

std::string error::message() const {
  std::string text = where_.empty() ? std::string{} : where_ + ": ";
  text += error_category().message(static_cast<int>(code_));
  text += " (";
  text += hint(code_);
  text += ')';
  return text;
}

void throw_exception_from_error(const error& failure, const boost::source_location&) {
  throw boost::system::system_error(make_error_code(failure.code()), failure.where());
}

} // namespace weft
