// Where the peer of a conformance test lives: in this process, or in one of its own. A test that must hold for both is
// a TEST_CASE_TEMPLATE over the two kinds; `rig` connects to one.
#pragma once

#include "peer.hpp"

#include <doctest/doctest.h>

#include <sys/types.h>

#include <string>

namespace weft::tests {

class in_threads {
public:
  explicit in_threads(const peer_options& options) : peer_(options) {}
  [[nodiscard]] const std::string& address() const noexcept { return peer_.address(); }

private:
  tests::peer peer_;
};

class in_processes {
public:
  explicit in_processes(const peer_options& options);
  ~in_processes();
  in_processes(const in_processes&) = delete;
  in_processes& operator=(const in_processes&) = delete;
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

  /// kill -9, and waits until it is gone.
  void kill();
  void freeze();
  void thaw();

private:
  pid_t process_ = 0;
  bool frozen_ = false; ///< by freeze()
  int input_ = -1;      ///< its standard input: it ends when this is closed
  std::string address_;
};

template <class Kind>
struct rig {
  explicit rig(const peer_options& theirs = {}, const settings& mine = {})
      : peer(theirs), client(configured(mine)), link(soon(client.connect(peer.address(), asio::use_future))) {}

  /// A request on the standard lane that must succeed.
  std::string ask(std::string_view text) {
    return text_of(soon(link.request(bytes_of(text), {.lane = lane::standard}, asio::use_future)).payload);
  }
  remote_region open(std::string_view name) { return soon(link.open(name, asio::use_future)); }
  region allocate(std::size_t size) { return client.allocate(byte_count{size}).value(); }
  /// A region full of the pattern of `seed`.
  region filled(std::size_t size, std::uint64_t seed) {
    auto made = allocate(size);
    fill(made.bytes(), seed);
    return made;
  }

  Kind peer;
  fabric client;
  weft::link link;
};

} // namespace weft::tests

TYPE_TO_STRING_AS("in threads", weft::tests::in_threads);
TYPE_TO_STRING_AS("in two processes", weft::tests::in_processes);
