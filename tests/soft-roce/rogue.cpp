// A peer that breaks the rules of RDMA, on real devices: Weft itself, with the posting of requests tampered with.
//   rogue serve ADDRESS          offers the first MiB of a region of two as "target" until SIGTERM; a request is
//                                answered with whether the second one is as it was
//   rogue write ADDRESS [FAULT]  writes that MiB in two transfers at once, one request with a fault, and says how they
//   ended:
//     key      a key that is none
//     stale    the key of a write before, to a process that was then another: waits for a line on its standard input
//     beyond   one byte beyond the region's end
//     outside  within the region, outside of what was granted
//     record   a record that says so of a slice
//     credit   more messages than there is credit for
//   rogue many ADDRESS           makes 240 links at once, and uses each
//   rogue cycles ADDRESS         makes 200 links one after the other, each used and closed
//   rogue cancel ADDRESS         reads in thousands of small pieces, each a request of its own at the peer, cancels at
//                                the first, fills the memory anew, and says whether it stays so
#include <weft/fabric.hpp>

#include "wire/frame.hpp"

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_future.hpp>
#include <fmt/format.h>

#include <rdma/rdma_cma.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <future>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace weft;
namespace asio = boost::asio;

constexpr std::uint64_t half = 1 << 20;
constexpr auto untouched = std::byte{0xd7};

int (*post_send)(ibv_qp*, ibv_send_wr*, ibv_send_wr**) = nullptr;
std::string fault;
std::atomic<bool> due = false;
std::uint64_t writes = 0;
std::uint64_t base = 0;      ///< where "target" lies at the peer
std::uint32_t first_key = 0; ///< of the first write of all

/// Whether the request had what the fault changes.
bool spoil(ibv_send_wr& request) {
  if (request.opcode == IBV_WR_RDMA_WRITE) {
    auto& remote = request.wr.rdma;
    std::uint64_t length = 0;
    for (int i = 0; i < request.num_sge; ++i) length += request.sg_list[i].length;
    if (writes < 4) return false;
    if (fault == "key") return remote.rkey ^= 0xff00, true;
    // Eight bits of a key of rxe's are by chance: one in 256 comes back.
    if (fault == "stale") return remote.rkey = remote.rkey == first_key ? first_key ^ 1 : first_key, true;
    if (fault == "beyond") return remote.remote_addr = base + 2 * half - length + 1, true;
    if (fault == "outside") return remote.remote_addr += half, true;
    return false;
  }
  if (fault != "record") return false;
  for (int i = 0; i < request.num_sge; ++i) {
    auto* bytes = reinterpret_cast<std::byte*>(request.sg_list[i].addr);
    for (std::size_t at = 0; at + wire::header_size <= request.sg_list[i].length; at += wire::header_size) {
      const std::span<std::byte, wire::header_size> encoded(bytes + at, wire::header_size);
      auto header = wire::decode(encoded);
      if (!header || header->type != wire::frame_type::slice) continue;
      header->offset += half;
      wire::encode(*header, encoded);
      return true;
    }
  }
  return false;
}

int post_spoiled(ibv_qp* pair, ibv_send_wr* requests, ibv_send_wr** bad) {
  for (auto* each = requests; each != nullptr; each = each->next) {
    if (each->opcode == IBV_WR_RDMA_WRITE && writes++ == 0) {
      base = each->wr.rdma.remote_addr;
      if (first_key == 0) first_key = each->wr.rdma.rkey;
    }
    if (due && spoil(*each)) due = false;
  }
  const int code = post_send(pair, requests, bad);
  if (!due || fault != "credit") return code;
  due = false;
  for (int i = 0; i < 400; ++i) {
    ibv_send_wr more{};
    more.opcode = IBV_WR_SEND_WITH_IMM;
    if (post_send(pair, &more, bad) != 0) break;
  }
  return code;
}

void tamper() {
  int count = 0;
  auto** contexts = ::rdma_get_devices(&count);
  for (int i = 0; i < count; ++i) {
    post_send = contexts[i]->ops.post_send;
    contexts[i]->ops.post_send = post_spoiled;
  }
  ::rdma_free_devices(contexts);
}

config settings(const char* listen) {
  auto made = config::load({}).value();
  made.set("transport", "verbs").value();
  made.set("slice.size", "64KiB").value();
  made.set("log.level", "debug").value();
  made.set_sink([](log_level, std::string_view text) { fmt::print(stderr, "{}\n", text); });
  if (listen != nullptr) made.set("listen", listen).value();
  return made;
}

int serve(const char* address) {
  // Before there are threads, which inherit it.
  sigset_t ending;
  ::sigemptyset(&ending);
  ::sigaddset(&ending, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  fabric server(settings(address));
  auto memory = server.allocate(byte_count{2 * half}).value();
  std::ranges::fill(memory.bytes().first(half), std::byte{1});
  std::ranges::fill(memory.bytes().last(half), untouched);
  server.publish(memory.sub(0, half), "target", rights::read_write).value();
  server.on_request([&memory](incoming_request request) {
    const auto outside = memory.bytes().subspan(half);
    const bool same = std::ranges::all_of(outside, [](std::byte value) { return value == untouched; });
    request.reply(std::as_bytes(std::span(std::string_view(same ? "untouched" : "written to"))));
  });
  fmt::print("ready at {}\n", server.address());
  std::fflush(stdout);
  int signal = 0;
  ::sigwait(&ending, &signal);
  return 0;
}

/// Both halves of the target at once, verified by reading it back; how that ended. What is spoiled is one request, so
/// that the other transfer is an innocent one on the same queue pair.
std::string write(fabric& client, const char* address, bool spoiled) {
  auto link = client.connect(address, asio::use_future).get();
  const auto target = link.open("target", asio::use_future).get();
  auto memory = client.allocate(byte_count{half}).value();
  auto back = client.allocate(byte_count{half}).value();
  for (std::size_t i = 0; i < half; ++i) memory.bytes()[i] = static_cast<std::byte>(i * 7 + i / 251);
  writes = 0;
  due = spoiled;
  try {
    auto first = link.write(memory.sub(0, half / 2), target.sub(0, half / 2), {}, asio::use_future);
    auto second = link.write(memory.sub(half / 2, half / 2), target.sub(half / 2, half / 2), {}, asio::use_future);
    const auto resent = first.get().resent + second.get().resent;
    link.read(target.all(), back, {}, asio::use_future).get();
    const auto outside = link.request({}, {}, asio::use_future).get();
    const bool same = std::ranges::equal(memory.bytes(), back.bytes());
    return fmt::format("{}, {} slices sent again, outside {}", same ? "the bytes are equal" : "THE BYTES DIFFER",
                       resent,
                       std::string_view(reinterpret_cast<const char*>(outside.payload.data()), outside.payload.size()));
  } catch (const boost::system::system_error& failure) {
    return fmt::format("failed: {}", name(to_errc(failure.code())));
  }
}

std::string cancel(fabric& client, const char* address) {
  constexpr std::uint64_t part = 4096;
  constexpr std::uint64_t parts = 8000;
  auto link = client.connect(address, asio::use_future).get();
  const auto target = link.open("target", asio::use_future).get();
  auto memory = client.allocate(byte_count{2 * part * parts}).value();
  std::ranges::fill(memory.bytes(), untouched);
  std::vector<piece> pieces;
  for (std::uint64_t i = 0; i < parts; ++i) pieces.push_back({2 * part * i, part * (i % (half / part)), part});
  asio::cancellation_signal signal;
  auto ended =
      link.read(target.all(), memory, pieces, {}, asio::bind_cancellation_slot(signal.slot(), asio::use_future));
  volatile const auto* first = memory.bytes().data();
  while (*first == untouched && ended.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
  }
  asio::post(link.executor(lane::bulk), [&] { signal.emit(asio::cancellation_type::terminal); });
  std::string how = "it was complete before";
  try {
    ended.get();
  } catch (const boost::system::system_error& failure) {
    how = name(to_errc(failure.code()));
  }
  const auto came = parts - static_cast<std::uint64_t>(std::ranges::count(pieces, untouched, [&](const piece& each) {
                      return memory.bytes()[each.local_offset];
                    }));
  std::ranges::fill(memory.bytes(), untouched);
  std::this_thread::sleep_for(std::chrono::seconds(2));
  const bool same = std::ranges::all_of(memory.bytes(), [](std::byte value) { return value == untouched; });
  return fmt::format("{}, {} of {} pieces had come, then {}", how, came, parts, same ? "untouched" : "WRITTEN TO");
}

} // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc >= 3 ? argv[1] : "";
  if (what == "serve") return serve(argv[2]);
  if (what == "cancel") {
    fabric client(settings(nullptr));
    fmt::print("{}\n", cancel(client, argv[2]));
    return 0;
  }
  if (what == "many") {
    fabric client(settings(nullptr));
    std::vector<std::future<weft::link>> opening;
    for (int i = 0; i < 240; ++i) opening.push_back(client.connect(argv[2], asio::use_future));
    std::vector<weft::link> links;
    for (auto& each : opening) links.push_back(each.get());
    std::vector<std::future<response>> asked;
    for (auto& each : links) asked.push_back(each.request({}, {}, asio::use_future));
    for (auto& each : asked) each.get();
    fmt::print("240 links\n");
    return 0;
  }
  if (what == "cycles") {
    fabric client(settings(nullptr));
    for (int i = 0; i < 200; ++i) {
      auto link = client.connect(argv[2], asio::use_future).get();
      link.request({}, {}, asio::use_future).get();
      link.close();
    }
    fmt::print("200 links\n");
    return 0;
  }
  if (what != "write") return 2;
  fault = argc > 3 ? argv[3] : "";
  tamper();
  fabric client(settings(nullptr));
  if (fault == "stale") {
    fmt::print("first: {}\n", write(client, argv[2], false));
    std::fflush(stdout);
    std::getchar();
  }
  fmt::print("{}\n", write(client, argv[2], !fault.empty()));
  if (!fault.empty() && due) fmt::print("the fault never came up\n");
  return 0;
}
