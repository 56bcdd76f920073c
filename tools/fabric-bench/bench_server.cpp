// Setting up the passive side.
#include "fabric-bench/bench_server.hpp"

#include "fabric-bench/pattern.hpp"

namespace weft::tools {

result<bench_server> bench_server::start(config settings, const std::string& listen, std::uint64_t size) {
  if (const auto set = settings.set("listen", listen); !set) return set.error();
  auto on = fabric::open(settings);
  if (!on) return on.error();
  bench_server server{std::move(*on)};
  auto memory = server.fabric_.allocate(byte_count{size});
  if (!memory) return memory.error();
  server.memory_ = std::move(*memory);
  fill_pattern(server.memory_.bytes(), bench_seed);
  if (const auto done = server.fabric_.publish(server.memory_, bench_region, rights::read_write); !done) {
    return done.error();
  }
  server.fabric_.on_request([](incoming_request request) { request.reply(request.payload()); });
  return server;
}

} // namespace weft::tools
