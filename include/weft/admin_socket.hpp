// A Unix socket through which an administrator sees and changes the lanes of a running process: `weft lanes`.
#pragma once

#include <weft/error.hpp>
#include <weft/export.hpp>
#include <weft/fabric.hpp>

#include <memory>
#include <string>

namespace weft {

/// Answers one request a connection, on a thread of its own. Only the owner of the process, and root, may connect.
class WEFT_API admin_socket {
public:
  /// `path` is made with the permissions 0600, in place of a socket that nobody listens at any more. Errors:
  /// invalid_argument (the path is too long), address_in_use (another process listens there, or it is no socket),
  /// io_error, os_failure, forked.
  [[nodiscard]] static result<admin_socket> open(fabric& on, const std::string& path);
  admin_socket(admin_socket&&) noexcept;
  admin_socket& operator=(admin_socket&&) noexcept;
  /// Removes the path.
  ~admin_socket();

private:
  class server;
  explicit admin_socket(std::unique_ptr<server> made) noexcept;

  std::unique_ptr<server> server_;
};

} // namespace weft
