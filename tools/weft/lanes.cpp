// `weft lanes`: what the lanes of a running process have and may have, asked and changed through its admin socket.
#include "weft/commands.hpp"

#include <weft/units.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include <sys/un.h>

#include <chrono>

namespace weft::tools {
namespace {

namespace asio = boost::asio;
using json = nlohmann::ordered_json;

constexpr auto patience = std::chrono::seconds{5};

/// Sends one line and reads the answer to its end.
result<std::string> ask(const std::string& path, const std::string& request, interrupt& signals) {
  using protocol = asio::local::stream_protocol;
  if (path.empty()) return error{errc::invalid_argument, "--admin: it needs the path of a process's admin socket"};
  if (path.size() >= sizeof(sockaddr_un::sun_path))
    return error{errc::invalid_argument, "--admin: the path is too long"};
  asio::io_context context{1};
  protocol::socket socket{context};
  error_code code;
  socket.connect(protocol::endpoint{path}, code);
  if (code) return error{errc::unreachable, fmt::format("--admin {}: {}", path, code.message())};
  const auto line = request + '\n';
  std::string text;
  bool done = false;
  asio::async_write(socket, asio::buffer(line), [&](const error_code& failed, std::size_t) {
    if (failed) return;
    asio::async_read(socket, asio::dynamic_buffer(text), [&](const error_code&, std::size_t) { done = true; });
  });
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!done && !signals.requested() && std::chrono::steady_clock::now() < until) {
    context.run_for(std::chrono::milliseconds{50});
    context.restart();
  }
  if (signals.requested()) return error{errc::cancelled, "lanes"};
  if (!done) return error{errc::unreachable, fmt::format("--admin {}: no answer within {} s", path, patience.count())};
  return text;
}

std::string rate_text(const json& lane, const char* key) {
  const auto text = lane.value(key, std::string{"-"});
  return text == "0" ? "-" : text;
}

void print_lag(std::string_view what, const json& lag) {
  if (lag.at("count").get<std::uint64_t>() == 0) return;
  const auto text = [&lag](const char* key) {
    return format_duration(std::chrono::nanoseconds{lag.at(key).get<std::int64_t>()});
  };
  fmt::print("{} within {} (p50), {} (p99), of {}\n", what, text("p50_below_ns"), text("p99_below_ns"),
             lag.at("count").get<std::uint64_t>());
}

void print_rail(const json& rail) {
  const auto& budget = rail.at("budget");
  const auto& waits = rail.at("waits");
  fmt::print("rail {}: {} of {} under way{}; waits for budget {}, limit {}, channel {}\n",
             rail.at("rail").get<std::string>(), to_string(byte_count{budget.at("under_way").get<std::uint64_t>()}),
             to_string(byte_count{budget.at("limit").get<std::uint64_t>()}),
             budget.at("crowded").get<bool>() ? ", realtime traffic is about" : "",
             waits.at("budget").get<std::uint64_t>(), waits.at("limit").get<std::uint64_t>(),
             waits.at("channel").get<std::uint64_t>());
  print_lag("  realtime messages arrived", rail.at("realtime_arrival"));
}

void print_lanes(const json& answer) {
  fmt::print("{:<11} {:>7} {:>12} {:>12} {:>18} {:>18}\n", "lane", "weight", "reservation", "limit", "bytes delivered",
             "bytes received");
  for (const auto& lane : answer.at("lanes")) {
    fmt::print("{:<11} {:>7} {:>12} {:>12} {:>18} {:>18}\n", lane.at("lane").get<std::string>(),
               lane.value("weight", std::string{"-"}), rate_text(lane, "reservation"), rate_text(lane, "limit"),
               lane.at("bytes_delivered").get<std::uint64_t>(), lane.at("bytes_received").get<std::uint64_t>());
  }
  for (const auto& [key, text] : {std::pair{"refused", "connections refused"},
                                  {"broken_links", "links ended by a peer that broke the protocol"},
                                  {"tcp_fallbacks", "links over TCP in place of RDMA"},
                                  {"realtime_demoted", "realtime operations beyond their limit, over standard"}}) {
    if (const auto count = answer.at(key).get<std::uint64_t>(); count > 0) fmt::print("{}: {}\n", text, count);
  }
  print_lag("realtime operations of other threads were picked up", answer.at("realtime_pickup"));
  for (const auto& rail : answer.at("rails")) print_rail(rail);
}

result<void> ask_and_show(command_context& context, const lanes_arguments& arguments, const std::string& request) {
  const auto text = ask(arguments.admin, request, context.signals);
  if (!text) return text.error();
  const auto answer = json::parse(*text, nullptr, false);
  try {
    if (answer.is_object() && answer.contains("error")) {
      return error{errc::invalid_config, answer.at("error").at("where").get<std::string>()};
    }
    if (!context.json) print_lanes(answer);
  } catch (const json::exception&) {
    return error{errc::protocol_error, fmt::format("--admin {}: what answers there is no Weft", arguments.admin)};
  }
  context.document.update(answer);
  return {};
}

} // namespace

result<void> show_lanes(command_context& context, const lanes_arguments& arguments) {
  context.document = {{"command", "lanes show"}};
  return ask_and_show(context, arguments, "show");
}

result<void> set_lanes(command_context& context, const lanes_arguments& arguments) {
  context.document = {{"command", "lanes set"}};
  std::string request = "set";
  for (const auto& value : arguments.values) {
    if (value.find_first_of(" \t\n") != value.npos || value.find('=') == value.npos) {
      return error{errc::invalid_argument,
                   fmt::format("\"{}\": it needs the form NAME=VALUE, as bulk.limit=2Gb/s", value)};
    }
    request += ' ' + value;
  }
  return ask_and_show(context, arguments, request);
}

} // namespace weft::tools
