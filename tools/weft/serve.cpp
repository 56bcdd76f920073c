// `weft serve`: a shard server on a fabric that listens, until a signal drains it.
#include "weft/commands.hpp"

#include <weft/admin_socket.hpp>
#include <weft/shard_server.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <variant>

namespace weft::tools {
namespace {

void print_line(const nlohmann::ordered_json& line) {
  fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  std::fflush(stdout);
}

/// The fault is also a line on standard error, as all that the library logs.
void print_fault(const stored_fault& fault) {
  print_line({{"schema", 1},
              {"event", "fault"},
              {"shard", fault.shard},
              {"version", to_string(fault.version)},
              {"block", fault.block},
              {"code", name(to_errc(fault.code))},
              {"where", fault.where}});
}

void print_ready(const command_context& context, const fabric& on, const shard_server& server,
                 const serve_arguments& arguments) {
  const auto shards = server.snapshot().shards;
  if (context.json) {
    return print_line(
        {{"schema", 1}, {"event", "ready"}, {"address", on.address()}, {"store", arguments.store}, {"shards", shards}});
  }
  fmt::print("weft serve: ready at {}, {} shards in {}\n", on.address(), shards, arguments.store);
  std::fflush(stdout);
}

} // namespace

result<void> serve(command_context& context, const serve_arguments& arguments) {
  auto& settings = context.settings.configuration;
  const auto patience = read_duration("--patience", arguments.patience);
  if (!patience) return patience.error();
  if (!arguments.listen.empty() || settings.listen().empty()) {
    const auto address = arguments.listen.empty() ? std::string{"127.0.0.1:0"} : arguments.listen;
    if (const auto good = check_address(address); !good) return good.error();
    if (const auto set = settings.set("listen", address); !set) return set.error();
  }
  shard_server_options options;
  if (!arguments.scrub.empty()) {
    const auto rate = parse_rate(arguments.scrub);
    if (!rate) return error{rate.error().code(), "--scrub: " + rate.error().where()};
    if (rate->value() == 0) return error{errc::invalid_argument, "--scrub: it must be more than 0"};
    options.scrub = *rate;
    if (context.json) options.on_fault = print_fault;
  }
  settings.set_sink(stderr_sink("weft serve"));
  for (const auto& warning : settings.warnings()) settings.sink()(log_level::warning, warning);

  auto opened = fabric::open(settings);
  if (!opened) return opened.error();
  fabric& on = *opened;
  auto server = shard_server::open(on, arguments.store, options);
  if (!server) return server.error();
  // An echo, so that latency can be measured against any server.
  on.on_request([](incoming_request request) { request.reply(request.payload()); });

  std::optional<admin_socket> admin;
  if (!arguments.admin.empty()) {
    auto made = admin_socket::open(on, arguments.admin);
    if (!made) return made.error();
    admin.emplace(std::move(*made));
  }
  print_ready(context, on, *server, arguments);
  context.signals.wait();
  pending<std::monostate> closed;
  on.close(*patience, closed.handler());
  // The signal has been taken; the fabric ends by itself within its patience.
  const auto ended = closed.get();
  const auto served = server->snapshot();
  context.document = {{"command", "serve"},
                      {"bytes_served", served.bytes_served},
                      {"bytes_stored", served.bytes_stored},
                      {"puts_committed", served.puts_committed},
                      {"shards_removed", served.shards_removed},
                      {"bad_blocks", served.bad_blocks},
                      {"bytes_scrubbed", served.bytes_scrubbed},
                      {"scrub_passes", served.scrub_passes}};
  if (ended.code) return failure_of(ended.code, {}, "closing");
  return {};
}

} // namespace weft::tools
