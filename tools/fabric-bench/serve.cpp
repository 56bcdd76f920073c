// `fabric-bench serve`: the passive side alone, for any number of clients.
#include "fabric-bench/bench.hpp"

#include "common/url.hpp"

#include <weft/admin_socket.hpp>
#include <weft/units.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <variant>

namespace weft::tools {

result<void> bench_serve(const bench_arguments& arguments, interrupt& signals) {
  const auto listen = arguments.listen.empty() ? std::string{"127.0.0.1:0"} : arguments.listen;
  if (const auto good = check_address(listen); !good) return good.error();
  auto settings = arguments.common.configuration;
  settings.set_sink(stderr_sink("fabric-bench serve"));
  const auto size = arguments.size.value_or(default_bench_region);
  auto server = bench_server::start(settings, listen, size);
  if (!server) return server.error();
  std::optional<admin_socket> admin;
  if (!arguments.admin.empty()) {
    auto made = admin_socket::open(server->on(), arguments.admin);
    if (!made) return made.error();
    admin.emplace(std::move(*made));
  }
  fmt::print("fabric-bench serve: ready at {}, region \"{}\" of {}\n", server->address(), bench_region,
             to_string(byte_count{size}));
  std::fflush(stdout);
  signals.wait();
  pending<std::monostate> closed;
  server->on().close(std::chrono::seconds{5}, closed.handler());
  const auto ended = closed.get();
  if (ended.code) return error{to_errc(ended.code), "closing"};
  return {};
}

} // namespace weft::tools
