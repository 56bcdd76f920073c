// What slices and requests cost over verbs: two fabrics on a network inside this process, which carries requests out at
// once and moves no payload, so that what is counted is Weft's, both ends together. Prints one JSON object: what each
// unit took of the things that perf/interpose.c counts, if that is loaded.
//   verbs-costs slices COUNT    further slices of 64 KiB: what a write of twice as many took more
//   verbs-costs requests COUNT [SIZE]  requests of 4 KiB or of so many bytes, one after the other
#include "rdma/fake_network.hpp"

#include <weft/fabric.hpp>

#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using namespace weft;
using namespace std::chrono_literals;
namespace asio = boost::asio;

constexpr std::uint64_t slice = 64 << 10;
constexpr std::uint64_t region_slices = 1024;
constexpr std::size_t usual_request = 4096;

struct counts {
  std::array<double, 5> of{};
  counts operator-(const counts& other) const {
    counts left = *this;
    for (std::size_t i = 0; i < of.size(); ++i) left.of[i] -= other.of[i];
    return left;
  }
  [[nodiscard]] double allocations() const { return of[0]; }
  [[nodiscard]] double locks() const { return of[1]; }
  [[nodiscard]] double copied() const { return of[2]; }
  [[nodiscard]] double calls() const { return of[3]; }
  [[nodiscard]] double looks() const { return of[4]; }
};

counts now() {
  static const auto ask = reinterpret_cast<void (*)(std::uint64_t*)>(::dlsym(RTLD_DEFAULT, "counts_now"));
  std::array<std::uint64_t, 5> numbers{};
  if (ask != nullptr) ask(numbers.data());
  counts all;
  std::copy(numbers.begin(), numbers.end(), all.of.begin());
  return all;
}

config settings(const char* listen) {
  auto made = config::load({}).value();
  made.set("transport", "verbs").value();
  made.set("verify", "wire").value();
  made.set("slice.size", "64KiB").value();
  if (listen != nullptr) made.set("listen", listen).value();
  return made;
}

} // namespace

int main(int argc, char** argv) {
  const bool sized = argc == 4;
  const std::string_view kind = argc == 3 || sized ? argv[1] : "";
  const auto units = kind.empty() ? 0 : std::strtoull(argv[2], nullptr, 10);
  const auto request_size = sized ? std::strtoull(argv[3], nullptr, 10) : usual_request;
  if ((kind != "slices" && kind != "requests") || units == 0) {
    std::fprintf(stderr, "usage: verbs-costs slices|requests COUNT [SIZE]\n");
    return 2;
  }
  weft::tests::fake_network network({.rails = 1, .asynchronous = false, .moves_payload = false});
  fabric server(settings("127.0.0.1:0"));
  fabric client(settings(nullptr));
  auto there = server.allocate(byte_count{region_slices * slice}).value();
  auto here = client.allocate(byte_count{region_slices * slice}).value();
  server.publish(there, "target", rights::read_write).value();
  server.on_request([](incoming_request request) { request.reply(request.payload()); });
  auto link = client.connect(server.address(), asio::use_future).get();
  const auto target = link.open("target", asio::use_future).get();

  // One write, in pieces that lie on one another as often as it takes.
  const auto write = [&](std::uint64_t slices) {
    std::vector<piece> pieces;
    for (; slices > 0; slices -= std::min(slices, region_slices))
      pieces.push_back({0, 0, std::min(slices, region_slices) * slice});
    link.write(here, target.all(), pieces, {}, asio::use_future).get();
  };
  // By a caller who lives on the lane's thread, as one does to whom latency matters.
  const std::vector<std::byte> question(request_size);
  const auto ask = [&](std::uint64_t times) {
    std::promise<void> done;
    std::function<void()> next = [&] {
      if (times-- == 0) return done.set_value();
      link.request(question, {.lane = lane::realtime}, [&](error_code, const response&) { next(); });
    };
    asio::post(link.executor(lane::realtime), next);
    done.get_future().get();
  };
  const auto load = [&](std::uint64_t times) {
    const auto before = now();
    kind == "slices" ? write(times) : ask(times);
    return now() - before;
  };
  load(std::min<std::uint64_t>(units, 200)); // what is made when first used

  // What a thread that stays awake does meanwhile is not the units': it is measured without any.
  const auto before_idle = now();
  std::this_thread::sleep_for(50ms);
  const auto idle = now() - before_idle;
  const auto once = load(units);
  const auto used = load(2 * units) - once;
  const auto locks_a_look = idle.looks() > 0 ? idle.locks() / idle.looks() : 0.0;
  const auto each = [units](double all) { return all / static_cast<double>(units); };
  std::printf(
      "{\"units\": %llu, \"allocations\": %g, \"locks\": %g, \"system_calls\": %g, \"copied\": %g, \"looks\": %g}\n",
      static_cast<unsigned long long>(units), each(used.allocations()),
      each(used.locks() - locks_a_look * used.looks()), each(used.calls()), each(used.copied()), each(used.looks()));
  return 0;
}
