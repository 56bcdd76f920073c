// Two fabrics in one process with a link between them over loopback.
#pragma once

#include <weft/fabric.hpp>

#include <boost/asio/use_future.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace weft::tests {

using namespace std::chrono_literals;

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Bytes that differ at every position and for every seed.
inline void fill(std::span<std::byte> bytes, std::uint64_t seed) {
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (auto& byte : bytes) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    byte = static_cast<std::byte>(state >> 56);
  }
}

inline config listening(std::initializer_list<std::pair<std::string_view, std::string_view>> settings = {}) {
  config made;
  made.set("listen", "127.0.0.1:0").value();
  for (const auto& [name, value] : settings) made.set(name, value).value();
  return made;
}

inline config connecting(std::initializer_list<std::pair<std::string_view, std::string_view>> settings = {}) {
  config made;
  for (const auto& [name, value] : settings) made.set(name, value).value();
  return made;
}

struct pair {
  explicit pair(const config& server_settings = listening(), const config& client_settings = connecting())
      : server(server_settings), client(client_settings),
        link(client.connect(server.address(), boost::asio::use_future).get()) {}

  fabric server;
  fabric client;
  weft::link link;
};

/// A region with storage of its own.
struct buffer {
  buffer(fabric& on, std::size_t size) : memory(on.allocate(byte_count{size}).value()) {}
  [[nodiscard]] std::span<std::byte> bytes() const { return memory.bytes(); }
  region memory;
};

} // namespace weft::tests
