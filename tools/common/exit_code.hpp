// The exit codes of the programs, as their --help lists them. Values and pure functions.
#pragma once

#include <weft/error.hpp>

namespace weft::tools {

enum class exit_code : int {
  ok = 0,
  failed = 1,
  usage = 2,             ///< the command line, the configuration or a URL cannot be used
  inconclusive = 3,      ///< fabric-bench: the load was not what was asked for
  not_found = 4,         ///< no such shard
  checksum_mismatch = 5, ///< bytes that are damaged on every replica
  unreachable = 6,       ///< no peer answered in time, or none speaks Weft
};

[[nodiscard]] constexpr exit_code exit_code_of(errc value) noexcept {
  switch (value) {
    case errc::invalid_argument:
    case errc::invalid_config:
    case errc::invalid_url:
    case errc::invalid_name: return exit_code::usage;
    case errc::not_found: return exit_code::not_found;
    case errc::checksum_mismatch: return exit_code::checksum_mismatch;
    case errc::name_unresolved:
    case errc::path_failed:
    case errc::connect_refused:
    case errc::unreachable:
    case errc::no_path:
    case errc::peer_lost:
    case errc::peer_restarted:
    case errc::peer_unresponsive:
    case errc::peer_closed:
    case errc::not_weft:
    case errc::deadline_exceeded: return exit_code::unreachable;
    default: return exit_code::failed;
  }
}

} // namespace weft::tools
