// What the conformance tests share: byte patterns, settings, and waiting for outcomes with an end in sight. Values and
// functions only, usable on any thread.
#pragma once

#include <weft/fabric.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_future.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <future>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace weft::tests {

using namespace std::chrono_literals;
namespace asio = boost::asio;

using settings = std::vector<std::pair<std::string, std::string>>;

/// Longer than anything takes on a loaded machine under a sanitizer: a test that waits for so long has hung.
inline constexpr auto patience = 60s;

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Bytes that differ at every position and for every seed; `from` is the position of the first.
inline void fill(std::span<std::byte> bytes, std::uint64_t seed, std::uint64_t from = 0) {
  for (std::size_t at = 0; at < bytes.size();) {
    const auto position = from + at;
    auto word = (position / 8 + 1) * 0x9e3779b97f4a7c15u ^ seed * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 29)) * 0x94d049bb133111ebu;
    word ^= word >> 32;
    const auto skip = position % 8;
    const auto length = std::min<std::size_t>(8 - skip, bytes.size() - at);
    std::memcpy(bytes.data() + at, reinterpret_cast<const std::byte*>(&word) + skip, length);
    at += length;
  }
}

inline bool has_pattern(std::span<const std::byte> bytes, std::uint64_t seed, std::uint64_t from = 0) {
  std::vector<std::byte> expected(bytes.size());
  fill(expected, seed, from);
  return std::ranges::equal(bytes, expected);
}

inline constexpr auto poison = std::byte{0xd7};

inline bool is_poisoned(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte value) { return value == poison; });
}

/// On top of what the environment says: WEFT_TRANSPORT=verbs lets the whole suite go over RDMA.
inline config configured(const settings& values) {
  auto made = config::load({}).value();
  for (const auto& [name, value] : values) made.set(name, value).value();
  return made;
}

/// The value of a future that must come.
template <class T>
T soon(std::future<T> future) {
  if (future.wait_for(patience) != std::future_status::ready) throw std::runtime_error("an operation never completed");
  return future.get();
}

/// A completion token for operations whose error is looked at: a future of (error_code, result).
struct outcome_token {};
inline constexpr outcome_token outcome;

/// Waits until `holds()`, which something else brings about.
template <class Condition>
bool eventually(Condition holds) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

} // namespace weft::tests

template <class... Result>
struct boost::asio::async_result<weft::tests::outcome_token, void(Result...)> {
  using tuple = std::tuple<Result...>;
  using return_type = std::future<tuple>;

  template <class Initiation, class Token, class... Arguments>
  static return_type initiate(Initiation&& begin, Token&&, Arguments&&... arguments) {
    auto promise = std::make_shared<std::promise<tuple>>();
    auto future = promise->get_future();
    std::forward<Initiation>(begin)([promise](Result... values) { promise->set_value(tuple(std::move(values)...)); },
                                    std::forward<Arguments>(arguments)...);
    return future;
  }
};
