// What a fake network is made of; for its own files.
#pragma once

#include "rdma/fake_network.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace weft::tests {

inline constexpr std::size_t private_data_size = 56;
inline constexpr std::uint32_t inline_limit = 220;
inline constexpr std::size_t most_parts = 16;

/// A descriptor that can be waited for, and is readable while there is something.
class signal_descriptor {
public:
  signal_descriptor() : descriptor_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~signal_descriptor() { ::close(descriptor_); }
  signal_descriptor(const signal_descriptor&) = delete;
  signal_descriptor& operator=(const signal_descriptor&) = delete;
  [[nodiscard]] int number() const noexcept { return descriptor_; }
  void raise() { ::eventfd_write(descriptor_, 1); }
  void clear() {
    eventfd_t value = 0;
    ::eventfd_read(descriptor_, &value);
  }

private:
  int descriptor_;
};

/// 10.77.RAIL.1
inline in_addr_t address_of(std::size_t rail) {
  return htonl((10U << 24) | (77U << 16) | (static_cast<std::uint32_t>(rail) << 8) | 1U);
}

inline int fail_with(int code) {
  errno = code;
  return -1;
}

struct fake_network::device {
  explicit device(std::size_t number) : rail(number) {
    std::snprintf(hardware.name, sizeof hardware.name, "fake%zu", number);
    context.device = &hardware;
    context.async_fd = signal.number();
  }
  std::size_t rail;
  ibv_device hardware{};
  ibv_context context{};
  signal_descriptor signal;
  std::deque<ibv_async_event> events;
  cable state = cable::plugged;
  std::uint64_t requests = 0;
  std::size_t attempts = 0;
  int refuses_memory = 0;
  int refuses_pairs = 0;
};

struct fake_network::domain : ibv_pd {};

struct fake_network::wake_up : ibv_comp_channel {
  signal_descriptor signal;
  std::deque<ibv_cq*> events;
};

struct fake_network::completions : ibv_cq {
  std::vector<ibv_wc> entries; ///< a ring
  std::size_t first = 0;
  std::size_t count = 0;
  std::size_t capacity = 0;
  bool armed = false;
  bool dead = false; ///< nothing comes any more
};

struct fake_network::receives : ibv_srq {
  struct slot {
    std::uint64_t number;
    ibv_sge place;
  };
  std::vector<slot> slots; ///< a ring
  std::size_t first = 0;
  std::size_t count = 0;
};

struct fake_network::work {
  std::uint64_t number = 0;
  std::uint32_t sequence = 0; ///< among the requests of its queue pair
  ibv_wr_opcode kind{};
  unsigned flags = 0;
  __be32 imm = 0;
  std::uint64_t remote = 0;
  std::uint32_t key = 0;
  std::size_t parts = 0;
  std::array<ibv_sge, most_parts> part{};
  std::array<std::byte, inline_limit> inlined{};
};

struct fake_network::pair : ibv_qp {
  device* on = nullptr;
  std::uint32_t peer = 0;
  std::uint32_t depth = 0;
  std::vector<work> requests; ///< a ring
  std::size_t first = 0;
  std::size_t count = 0;
  std::uint32_t posted = 0;
  std::uint32_t retired = 0; ///< as the owner of the queue knows
  bool busy = false;
  ibv_qp_attr to_receive{}; ///< what it was brought to RTR with
  ibv_qp_attr to_send{};    ///< and to RTS
};

struct fake_network::notice : rdma_cm_event {
  std::array<std::byte, private_data_size> data{};
};

struct fake_network::event_queue : rdma_event_channel {
  signal_descriptor signal;
  std::deque<std::unique_ptr<notice>> events;
};

struct fake_network::identity : rdma_cm_id {
  event_queue* queue = nullptr;
  device* on = nullptr;
  std::uint16_t port = 0; ///< that it listens at, or dials
  bool listening = false;
  identity* other = nullptr;           ///< its connection's other end
  std::uint32_t peer_pair = 0;         ///< as that told it
  std::uint8_t traffic_class = 0;      ///< of the end that dials
  std::uint8_t leads_from = gid_index; ///< which GID its route does
  bool connected = false;
};

} // namespace weft::tests
