// Shards as a trainer sees them: immutable named objects, held by one or several storage servers.
#pragma once

#include <weft/fabric.hpp>
#include <weft/id.hpp>
#include <weft/shard_info.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace weft {

namespace shards {
class client_core;
}

/// A range of a shard and where it goes: bytes [offset, offset + to.length).
struct fetch_piece {
  std::uint64_t offset = 0;
  region_view to;
};

struct fetch_options {
  weft::lane lane = weft::lane::bulk;
  /// As that of transfer_options.
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
  std::optional<verify_mode> verify = std::nullopt;
  std::optional<id128> version = std::nullopt; ///< else the newest that the first replica to answer has
};

struct fetch_result {
  std::uint64_t bytes = 0; ///< verified
  std::uint64_t size = 0;  ///< of the whole shard
  id128 version;
  std::uint32_t moved = 0; ///< chunks that were taken from another replica after one had failed or stalled
  verify_mode verified = verify_mode::slice;
  std::string where = {};
};

struct put_options {
  weft::lane lane = weft::lane::bulk;
  /// As that of transfer_options.
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
  std::optional<id128> version = std::nullopt; ///< else random; repeat a put with the same one to make it idempotent
  std::uint32_t min_copies = 0;                ///< replicas that must hold it durably; 0: all
};

/// What became of one replica's copy.
struct copy_result {
  std::string address;
  bool placed = false;  ///< every byte arrived and was verified
  bool durable = false; ///< it survives a crash of the server
  error_code code = {};
  std::string where = {};
};

struct put_result {
  id128 version;
  std::vector<copy_result> copies; ///< in the order of the replicas
  std::string where = {};
};

struct verify_copy {
  std::string address;
  std::uint64_t blocks = 0;                   ///< of 64 KiB, read and compared
  std::vector<std::uint64_t> bad_blocks = {}; ///< indices, at most the first 1024
  error_code code = {};
  std::string where = {};
};

struct verify_result {
  id128 version;
  std::vector<verify_copy> copies;
  std::string where = {};
};

struct remove_options {
  std::optional<std::chrono::nanoseconds> deadline = std::nullopt;
  std::optional<id128> version = std::nullopt; ///< only if this is the one that is there; else whichever is
};

struct remove_copy {
  std::string address;
  bool removed = false;
  error_code code = {}; ///< not_found: it had none
  std::string where = {};
};

struct remove_result {
  std::vector<remove_copy> copies; ///< in the order of the replicas
  std::string where = {};
};

/// A client of one group of replicas, each holding the same shards. A cheap handle; thread-safe. It connects when first
/// needed and again after a replica was lost. Operations complete as those of a link do, and also with: not_found,
/// invalid_name, conflict, not_enough_copies, no_space, read_only, io_error, bad_manifest.
class WEFT_API shard_client {
public:
  /// `replicas`: their addresses, HOST:PORT. The fabric must outlive the client's operations.
  shard_client(fabric& on, std::vector<std::string> replicas);

  /// From the first replica that answers.
  template <class Token>
  auto stat(std::string_view name, Token&& token) {
    return start<shard_info>(&shard_client::start_stat, token, std::string(name));
  }

  /// Up to `limit` (at most 1000) shards whose names begin with `prefix` and come behind `after`.
  template <class Token>
  auto list(std::string_view prefix, std::string_view after, std::uint32_t limit, Token&& token) {
    return start<shard_page>(&shard_client::start_list, token, std::string(prefix), std::string(after), limit);
  }

  /// The whole shard into `to`, which must be as long as it (length_mismatch). Striped over the replicas; what one
  /// fails to give is taken from another.
  template <class Token>
  auto fetch(std::string_view name, region_view to, fetch_options options, Token&& token) {
    return start<fetch_result>(&shard_client::start_fetch, token, std::string(name), std::vector<fetch_piece>{{0, to}},
                               true, options);
  }
  /// Ranges of it, each into its own place, in one operation.
  template <class Token>
  auto fetch(std::string_view name, std::vector<fetch_piece> pieces, fetch_options options, Token&& token) {
    return start<fetch_result>(&shard_client::start_fetch, token, std::string(name), std::move(pieces), false, options);
  }

  /// Stores `from` as `name` on every replica. Visible there whole or not at all. Succeeds when min_copies are durable;
  /// the result says what became of each.
  template <class Token>
  auto put(std::string_view name, region_view from, put_options options, Token&& token) {
    return start<put_result>(&shard_client::start_put, token, std::string(name), from, options);
  }

  /// Lets every replica read and check all its blocks. checksum_mismatch when any block of any copy is bad.
  template <class Token>
  auto verify(std::string_view name, std::optional<std::chrono::nanoseconds> deadline, Token&& token) {
    return start<verify_result>(&shard_client::start_verify, token, std::string(name), deadline);
  }

  /// Removes the shard from every replica: it is gone for whoever asks from then on, and its space is freed when those
  /// who are reading it have finished. Succeeds when no replica has it any more, and one had it; a repeat is not_found.
  template <class Token>
  auto remove(std::string_view name, remove_options options, Token&& token) {
    return start<remove_result>(&shard_client::start_remove, token, std::string(name), options);
  }

private:
  template <class Result, class Start, class Token, class... Arguments>
  auto start(Start member, Token& token, Arguments... arguments) {
    return boost::asio::async_initiate<Token, void(error_code, Result)>(
        [self = *this, member](auto&& handler, auto&&... values) mutable {
          (self.*member)(std::forward<decltype(values)>(values)..., std::forward<decltype(handler)>(handler));
        },
        token, std::move(arguments)...);
  }

  void start_stat(std::string name, handler_of<shard_info> handler);
  void start_list(std::string prefix, std::string after, std::uint32_t limit, handler_of<shard_page> handler);
  void start_fetch(std::string name, std::vector<fetch_piece> pieces, bool whole, fetch_options options,
                   handler_of<fetch_result> handler);
  void start_put(std::string name, region_view from, put_options options, handler_of<put_result> handler);
  void start_verify(std::string name, std::optional<std::chrono::nanoseconds> deadline,
                    handler_of<verify_result> handler);

  void start_remove(std::string name, remove_options options, handler_of<remove_result> handler);
  template <class Result>
  [[nodiscard]] bool refused(std::string_view name, handler_of<Result>& handler);

  std::shared_ptr<shards::client_core> core_;
};

} // namespace weft
