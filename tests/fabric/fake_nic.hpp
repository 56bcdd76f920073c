// A network card behind the table of verbs calls: it keeps what is posted, completes what a test tells it to, with any
// status, and refuses what a real one would lose. One at a time, on the test's thread.
#pragma once

#include "path/verbs/channel.hpp"

#include <doctest/doctest.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <memory>
#include <vector>

namespace weft::tests {

/// A request as it was posted, with its memory as it was then.
struct posted_request {
  ibv_send_wr request{};
  std::vector<std::byte> bytes;
};

struct fake_pair : ibv_qp {
  std::vector<posted_request> posted; ///< in their order
  std::size_t doorbells = 0;
  std::uint32_t depth = 0;
  std::uint64_t ended = 0; ///< the last request that was completed or is known to be by a later one
};

class fake_nic {
public:
  fake_nic() {
    current = this;
    device.max_srq_wr = 1024;
    device.max_cqe = 4096;
    device.max_qp_wr = 1024;
    device.max_sge = 4;
  }
  ~fake_nic() {
    current = nullptr;
    if (wake.fd >= 0) ::close(wake.fd);
  }
  fake_nic(const fake_nic&) = delete;
  fake_nic& operator=(const fake_nic&) = delete;

  [[nodiscard]] const path::verbs::calls& calls() const noexcept;
  [[nodiscard]] path::verbs::rail rail() {
    return {calls(), 0,  &context, 1,  "fake0:1",
            device,  {}, {},       {}, path::verbs::protection_domain(&domain, {&calls()})};
  }

  /// A queue pair that is connected.
  fake_pair& make_pair(std::uint32_t depth) {
    auto made = std::make_unique<fake_pair>();
    made->qp_num = static_cast<std::uint32_t>(100 + pairs.size());
    made->state = IBV_QPS_RTS;
    made->depth = depth;
    return *pairs.emplace_back(std::move(made));
  }

  /// The end of it that a channel is made with.
  std::unique_ptr<path::verbs::endpoint> make_endpoint(fake_pair& pair, std::shared_ptr<path::verbs::queues> shared,
                                                       std::uint32_t credits) const {
    auto made = std::make_unique<path::verbs::endpoint>();
    made->pair = path::verbs::queue_pair(&pair, {&calls()});
    made->shared = std::move(shared);
    made->send_depth = pair.depth;
    made->inline_bytes = 100;
    made->most_parts = 4;
    made->peer_credits = credits;
    made->peer_address = "10.0.0.2:7000";
    made->gid_index = 3;
    return made;
  }

  /// Ends a request; with success those before it have ended too.
  void complete(fake_pair& of, std::uint64_t number, ibv_wc_status status = IBV_WC_SUCCESS) {
    of.ended = std::max(of.ended, number);
    push(completion(of, number, status));
  }
  void complete_all(fake_pair& of) {
    if (!of.posted.empty() && of.posted.back().request.wr_id > of.ended) complete(of, of.posted.back().request.wr_id);
  }
  /// A message arrives in the next receive slot.
  void deliver(fake_pair& at, std::span<const std::byte> bytes, std::uint32_t credits, ibv_wc_opcode as = IBV_WC_RECV,
               unsigned flags = IBV_WC_WITH_IMM) {
    REQUIRE(!receives.empty());
    ++arrived;
    const auto slot = receives.front();
    receives.pop_front();
    std::copy(bytes.begin(), bytes.end(), slot.place);
    auto came = completion(at, slot.number, IBV_WC_SUCCESS);
    came.opcode = as;
    came.byte_len = static_cast<std::uint32_t>(bytes.size());
    came.wc_flags = flags;
    came.imm_data = htonl(credits);
    push(came);
  }
  void fail_receive(fake_pair& at, ibv_wc_status status) {
    const auto slot = receives.front();
    receives.pop_front();
    push(completion(at, slot.number, status));
  }

  struct receive_slot {
    std::uint64_t number;
    std::byte* place;
  };

  static inline fake_nic* current = nullptr;
  ibv_device_attr device{};
  ibv_context context{};
  ibv_pd domain{};
  ibv_cq queue{};
  ibv_srq shared{};
  ibv_comp_channel wake{.context = nullptr, .fd = ::eventfd(0, EFD_NONBLOCK), .refcnt = 0};
  std::deque<ibv_wc> completions;
  std::deque<receive_slot> receives;
  std::vector<std::unique_ptr<fake_pair>> pairs;
  std::vector<std::unique_ptr<ibv_mr>> regions;
  std::uint64_t others = 0; ///< completions of other channels, which come before what else is in the queue
  int capacity = 0;         ///< of the completion queue
  int post_fails_with = 0;
  std::uint32_t arrived = 0; ///< messages
  bool overflown = false;    ///< a queue was given more than it holds

private:
  static ibv_wc completion(const fake_pair& of, std::uint64_t number, ibv_wc_status status) {
    ibv_wc made{};
    made.wr_id = number;
    made.status = status;
    made.qp_num = of.qp_num;
    return made;
  }
  void push(ibv_wc completion) {
    completions.push_back(completion);
    if (completions.size() > static_cast<std::size_t>(capacity)) overflown = true;
  }
};

inline const path::verbs::calls& fake_nic::calls() const noexcept {
  static const path::verbs::calls table = [] {
    path::verbs::calls made{};
    made.dealloc_pd = [](ibv_pd*) { return 0; };
    made.reg_mr = [](ibv_pd*, void* memory, std::size_t length, int) -> ibv_mr* {
      auto region = std::make_unique<ibv_mr>();
      region->addr = memory;
      region->length = length;
      region->lkey = static_cast<std::uint32_t>(10 + current->regions.size());
      return current->regions.emplace_back(std::move(region)).get();
    };
    made.dereg_mr = [](ibv_mr*) { return 0; };
    made.create_comp_channel = [](ibv_context*) { return &current->wake; };
    made.destroy_comp_channel = [](ibv_comp_channel*) { return 0; };
    made.create_cq = [](ibv_context*, int entries, void*, ibv_comp_channel*, int) {
      current->capacity = entries;
      return &current->queue;
    };
    made.destroy_cq = [](ibv_cq*) { return 0; };
    made.resize_cq = [](ibv_cq*, int entries) {
      current->capacity = entries;
      return 0;
    };
    made.req_notify_cq = [](ibv_cq*, int) { return 0; };
    made.poll_cq = [](ibv_cq*, int most, ibv_wc* out) {
      int count = 0;
      for (; count < most && current->others > 0; ++count, --current->others) out[count] = {};
      for (; count < most && !current->completions.empty(); ++count) {
        out[count] = current->completions.front();
        current->completions.pop_front();
      }
      return count;
    };
    made.get_cq_event = [](ibv_comp_channel*, ibv_cq**, void**) { return -1; };
    made.ack_cq_events = [](ibv_cq*, unsigned) {};
    made.create_srq = [](ibv_pd*, ibv_srq_init_attr*) { return &current->shared; };
    made.destroy_srq = [](ibv_srq*) { return 0; };
    made.post_srq_recv = [](ibv_srq*, ibv_recv_wr* requests, ibv_recv_wr**) {
      for (; requests != nullptr; requests = requests->next) {
        current->receives.push_back({requests->wr_id, reinterpret_cast<std::byte*>(requests->sg_list->addr)});
      }
      return 0;
    };
    made.modify_qp = [](ibv_qp* pair, ibv_qp_attr* attributes, int mask) {
      if ((mask & IBV_QP_STATE) != 0) pair->state = attributes->qp_state;
      return 0;
    };
    made.destroy_qp = [](ibv_qp*) { return 0; };
    made.post_send = [](ibv_qp* pair, ibv_send_wr* requests, ibv_send_wr**) {
      if (current->post_fails_with != 0) return current->post_fails_with;
      auto& to = static_cast<fake_pair&>(*pair);
      ++to.doorbells;
      for (; requests != nullptr; requests = requests->next) {
        auto& posted = to.posted.emplace_back();
        posted.request = *requests;
        for (int i = 0; i < requests->num_sge; ++i) {
          const auto& part = requests->sg_list[i];
          const auto* from = reinterpret_cast<const std::byte*>(part.addr);
          posted.bytes.insert(posted.bytes.end(), from, from + part.length);
        }
        if (requests->wr_id - to.ended > to.depth) current->overflown = true;
      }
      return 0;
    };
    return made;
  }();
  return table;
}

} // namespace weft::tests
