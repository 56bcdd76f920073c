// Two fabrics with a link over the network in this process.
#pragma once

#include "conformance/support.hpp"
#include "rdma/fake_network.hpp"

#include <doctest/doctest.h>

#include <boost/asio/use_future.hpp>

#include <mutex>
#include <optional>
#include <string>

namespace weft::tests {

inline constexpr std::size_t size = 1 << 20;
inline const settings over_verbs = {{"transport", "verbs"}};

/// Two fabrics with a link, and a region of `size` bytes at each end, before which and behind which lies more memory
/// that is registered with it.
struct pair_of_fabrics {
  explicit pair_of_fabrics(const settings& values = {}) {
    settings all = {{"redial.min", "1ms"}, {"redial.max", "20ms"}, {"connect.timeout", "2s"}};
    all.insert(all.end(), values.begin(), values.end());
    auto theirs = all;
    theirs.emplace_back("listen", "127.0.0.1:0");
    server.emplace(with_log(theirs));
    client.emplace(with_log(all));
    there = server->allocate(byte_count{3 * size}).value();
    here = client->allocate(byte_count{size}).value();
    fill(here.bytes(), 5);
    std::ranges::fill(there.bytes(), poison);
    server->publish(there.sub(size, size), "target", rights::read_write).value();
    server->on_request([](incoming_request request) { request.reply(request.payload()); });
  }

  config with_log(const settings& values) {
    auto made = configured(values);
    made.set_sink([this](log_level, std::string_view text) {
      const std::lock_guard lock(mutex);
      log += std::string(text) + '\n';
    });
    return made;
  }
  void connect() {
    link = soon(client->connect(server->address(), asio::use_future));
    target = soon(link.open("target", asio::use_future));
  }
  error_code write() { return std::get<0>(soon(link.write(here, target.all(), {.deadline = patience}, outcome))); }
  [[nodiscard]] bool arrived() const { return has_pattern(there.bytes().subspan(size, size), 5); }
  [[nodiscard]] bool neighbours_untouched() const {
    return is_poisoned(there.bytes().first(size)) && is_poisoned(there.bytes().last(size));
  }
  bool logged(std::string_view words) {
    const std::lock_guard lock(mutex);
    return log.find(words) != std::string::npos;
  }

  std::mutex mutex; ///< guards the log
  std::string log;
  std::optional<fabric> server;
  std::optional<fabric> client;
  region there;
  region here;
  weft::link link;
  remote_region target;
};

/// Whatever happened, nothing of it is left.
struct clean_end {
  fake_network& network;
  ~clean_end() {
    CHECK(network.complaints() == "");
    CHECK(network.pairs() == 0);
    CHECK(network.regions() == 0);
  }
};

} // namespace weft::tests
