// What every operation can be told, and what every result tells.
#pragma once

#include <weft/config.hpp>
#include <weft/error.hpp>
#include <weft/lane.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace weft {

/// What happens to an operation when the bound on outstanding operations or bytes is reached.
enum class when_full : std::uint8_t {
  wait, ///< it begins when there is room; its deadline runs meanwhile
  fail, ///< it completes with queue_full
};

/// Of a transfer. What is not set is the fabric's tunable.
struct transfer_options {
  weft::lane lane = weft::lane::bulk;
  /// From now until the operation ends at the latest, apart from its fence (tunable deadline.default). One that is
  /// given here also puts the transfer before others of its lane that have a later one or none, which get every eighth
  /// turn: writes over all links of this process, reads among those of this link.
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
  /// The longest time without a verified byte (tunable stall.default).
  std::optional<std::chrono::nanoseconds> stall = std::nullopt;
  std::optional<verify_mode> verify = std::nullopt;
  weft::when_full when_full = weft::when_full::wait;
  /// write: up to 4 KiB for the peer's notification handler, which gets them exactly once, after all bytes are
  /// verified and visible there.
  std::vector<std::byte> notify = {};
  /// Of a list of pieces: the result tells of each piece how it ended.
  bool piece_status = false;
};

/// Of a request.
struct request_options {
  weft::lane lane = weft::lane::realtime;
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
  weft::when_full when_full = weft::when_full::wait;
};

/// How a transfer went. On an error `where` says what failed and where; the local buffer's contents are undefined
/// then, and nothing writes to it any more.
struct transfer_result {
  std::uint64_t bytes = 0;                   ///< verified at the receiver
  std::uint32_t resent = 0;                  ///< slices sent more than once
  verify_mode verified = verify_mode::slice; ///< how the bytes were checked
  std::string where = {};
  /// With piece_status: for each piece, in their order, success if all its bytes were verified, else why not. After an
  /// error a piece that succeeded is whole at its place.
  std::vector<error_code> pieces = {};
};

/// The answer to a request.
struct response {
  std::vector<std::byte> payload = {};
  bool maybe_executed = false; ///< on an error: whether the peer's handler may have run
  std::string where = {};      ///< on an error: what failed and where
};

} // namespace weft
