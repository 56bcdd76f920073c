// A server with known behaviour for the conformance tests, in the test's own process or, as conformance-peer, in
// another. It publishes "target" (to be written and read) and "source" (read-only, a pattern), and its request handler
// does what the first word of a request says:
//   echo ...             answers with the request itself
//   thread               the name of the thread that the handler runs on
//   delay MS             answers after so long
//   fail CODE WHERE...   answers with this error
//   drop                 gives no answer
//   mark KEY [MS]        counts KEY and answers with the count, after so long
//   marks KEY            how often that was
//   crc NAME OFFSET SIZE CRC32C of a part of what is published as NAME
//   notes                the notifications so far, one a line: REGION WORDS
//   publish NAME SIZE    a new region; revoke NAME ends one
#pragma once

#include "support.hpp"

#include <weft/shard_server.hpp>

#include <boost/asio/thread_pool.hpp>

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace weft::tests {

inline constexpr std::uint64_t source_seed = 77;

struct peer_options {
  std::size_t size = 4 << 20; ///< of each of the two regions
  bool inline_handler = false;
  bool silent = false;    ///< without a handler
  std::string store = {}; ///< a folder whose shards it serves
  settings values = {};
};

class peer {
public:
  explicit peer(const peer_options& options);
  ~peer();

  [[nodiscard]] weft::fabric& fabric() noexcept { return fabric_; }
  [[nodiscard]] const std::string& address() const noexcept { return fabric_.address(); }

private:
  void handle(incoming_request request);
  void answer_later(incoming_request request, std::chrono::milliseconds after, std::string text);
  std::string checksum(std::istream& words);
  void publish(const std::string& name, std::size_t size, rights allowed);

  std::mutex mutex_; ///< guards the next three
  std::map<std::string, region> regions_;
  std::map<std::string, int> marks_;
  std::string notes_;
  asio::thread_pool pool_{1};
  weft::fabric fabric_;
  std::optional<shard_server> shards_;
};

} // namespace weft::tests
