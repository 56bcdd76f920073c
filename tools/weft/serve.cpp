// `weft serve`: a shard server on a fabric that listens, until a signal drains it.
#include "weft/commands.hpp"

#include <weft/shard_server.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <variant>

namespace weft::tools {
namespace {

void print_ready(const command_context& context, const fabric& on, const shard_server& server,
                 const serve_arguments& arguments) {
  const auto shards = server.snapshot().shards;
  if (context.json) {
    const nlohmann::ordered_json line = {
        {"schema", 1}, {"event", "ready"}, {"address", on.address()}, {"store", arguments.store}, {"shards", shards}};
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("weft serve: ready at {}, {} shards in {}\n", on.address(), shards, arguments.store);
  }
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
  settings.set_sink(stderr_sink("weft serve"));
  for (const auto& warning : settings.warnings()) settings.sink()(log_level::warning, warning);

  auto opened = fabric::open(settings);
  if (!opened) return opened.error();
  fabric& on = *opened;
  auto server = shard_server::open(on, arguments.store);
  if (!server) return server.error();
  // An echo, so that latency can be measured against any server.
  on.on_request([](incoming_request request) { request.reply(request.payload()); });

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
                      {"bad_blocks", served.bad_blocks}};
  if (ended.code) return failure_of(ended.code, {}, "closing");
  return {};
}

} // namespace weft::tools
