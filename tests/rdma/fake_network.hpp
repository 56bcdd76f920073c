// An RDMA network inside this process, behind the table of verbs and rdmacm calls: rails with a device each, queue
// pairs, shared receive queues, completion queues and the connection manager, which do towards Weft what real ones do,
// and complain where a real one would lose something silently. All fabrics of the process are on it, rail to rail of
// the same number. It must outlive them; one at a time. Any thread.
#pragma once

#include "path/verbs/calls.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weft::tests {

class fake_network {
public:
  struct options {
    std::size_t rails = 2;
    /// Requests are carried out by a thread of the network's, some time after they were posted; else at once, by the
    /// thread that posts them.
    bool asynchronous = true;
    /// Whether what is written arrives: without, what is left to count is Weft's.
    bool moves_payload = true;
  };
  fake_network() : fake_network(options()) {}
  explicit fake_network(options chosen);
  /// Puts the libraries' table back.
  ~fake_network();
  fake_network(const fake_network&) = delete;
  fake_network& operator=(const fake_network&) = delete;

  // Faults, from now on.
  /// Nothing gets over a rail: whoever connects hears nothing, requests end with RETRY_EXC_ERR.
  void unplug(std::size_t rail);
  void plug(std::size_t rail);
  /// Whoever connects over the rail hears nothing; what is connected stays.
  void deafen(std::size_t rail);
  /// The connection manager of a rail works, and no request gets through: a wrong GID, a filtered port.
  void let_only_connect(std::size_t rail);
  /// The rail's devices do nothing of what is posted, and tell nothing of it, until it is flushed.
  void hang(std::size_t rail);
  /// One of the next requests of that kind, behind `after` others, ends with `status`.
  void fail_request(ibv_wr_opcode kind, ibv_wc_status status, std::size_t after = 0);
  /// The next WRITE but `after` goes to `by` bytes beyond where it should.
  void misplace(std::ptrdiff_t by, std::size_t after = 0);
  /// Memory cannot be registered on the rail.
  void refuse_memory(std::size_t rail, int code);
  /// The next `times` calls of this name fail with `code`.
  void fail_call(std::string_view name, int code, std::size_t times);
  [[nodiscard]] static const std::vector<std::string>& calls_that_fail();
  /// How many have, since then.
  [[nodiscard]] std::size_t calls_failed() const;
  /// The devices of a rail tell of themselves, or of one of their queue pairs or queues, which does nothing any more
  /// then.
  void tell_of_device(std::size_t rail, ibv_event_type what);
  /// The rail's devices make no more queue pairs.
  void refuse_pairs(std::size_t rail, int code);

  /// Devices that are found from now on serve so many RDMA READs at once, and send as many.
  void allow_reads(int most);
  /// Routes lead from this entry of the table of GIDs from now on, and not from `gid_index`, unless whoever dials names
  /// the address of that one and is not `ignored`.
  void lead_from(std::uint8_t gid, bool ignored = false);
  /// Of the only entry that can be used: before it are one that cannot be routed and one of RoCE v1.
  static constexpr std::uint8_t gid_index = 2;

  /// Connects to the first who listens on the rail, with this private data, and waits for the answer. True: refused.
  [[nodiscard]] bool is_refused(std::size_t rail, std::span<const std::byte> greeting);

  // What it saw.
  /// Requests carried out on a rail.
  [[nodiscard]] std::uint64_t requests(std::size_t rail) const;
  [[nodiscard]] std::size_t pairs() const;
  /// What a queue pair was brought to RTR and to RTS with, and that at its other end.
  struct attributes {
    ibv_qp_attr to_receive;
    ibv_qp_attr to_send;
    ibv_qp_attr peer_to_receive;
  };
  /// Of all that are in RTS, of both ends.
  [[nodiscard]] std::vector<attributes> connected() const;
  [[nodiscard]] std::size_t regions() const;
  [[nodiscard]] std::size_t attempts(std::size_t rail) const;
  /// That are bound to an address and take connections.
  [[nodiscard]] std::size_t listeners() const;
  /// What a real network would have lost or mangled without a word; empty if there was nothing.
  [[nodiscard]] std::string complaints() const;

private:
  struct device;
  struct domain;
  struct wake_up;
  struct completions;
  struct receives;
  struct pair;
  struct notice;
  struct event_queue;
  struct identity;
  struct work;
  enum class cable { plugged, unplugged, deaf, connects_only, hung };
  struct fault {
    bool due = false;
    std::size_t after = 0;
    ibv_wr_opcode kind{};
    ibv_wc_status status{};
    std::ptrdiff_t by = 0;
  };

  static void add_manager_calls(path::verbs::calls& made);
  static void add_verbs_calls(path::verbs::calls& made);
  static const path::verbs::calls& table();
  static void make_all_failing(path::verbs::calls& made);
  template <auto member, auto how, std::size_t number, class Result, class... Arguments>
  static void make_failing(path::verbs::calls& made, Result (*path::verbs::calls::*)(Arguments...));
  [[nodiscard]] int failure_of(std::size_t call);
  void run();
  void carry_out(pair& of);
  void carry_out_one(pair& of, const work& request);
  [[nodiscard]] bool gather(pair& of, const work& request, std::byte* to, std::size_t room);
  void complete(pair& of, const work& request, ibv_wc_status status);
  void push(completions& to, const ibv_wc& entry);
  void break_down(pair& of);
  void tell(identity& to, rdma_cm_event_type type, int status = 0, const rdma_conn_param* terms = nullptr);
  void complain(const char* what);
  [[nodiscard]] pair* find(std::uint32_t number);

  /// Not a mutex, whose locks would count as Weft's.
  class spin_lock {
  public:
    void lock() noexcept {
      while (taken_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
    }
    void unlock() noexcept { taken_.clear(std::memory_order_release); }

  private:
    std::atomic_flag taken_;
  };

  static inline fake_network* current_ = nullptr;
  const options options_;
  mutable spin_lock lock_; ///< guards everything that follows
  std::vector<std::unique_ptr<device>> devices_;
  std::map<std::uint32_t, std::unique_ptr<ibv_mr>> regions_; ///< by key
  std::map<std::uint32_t, pair*> pairs_;                     ///< by number
  std::vector<identity*> identities_;
  std::uint32_t next_key_ = 0x1001;
  std::uint32_t next_pair_ = 17;
  std::uint16_t next_port_ = 20000;
  fault failing_;
  std::atomic<std::size_t> failing_call_ = ~std::size_t{0};
  int call_code_ = 0;
  std::size_t call_times_ = 0;
  std::size_t calls_failed_ = 0;
  int reads_ = 16;
  std::uint8_t leads_from_ = gid_index;
  bool ignores_source_ = false;
  bool cannot_poll_ = false; ///< it is poll_cq that fails
  fault misplacing_;
  std::string complaints_;
  std::deque<pair*> busy_; ///< with requests to carry out, in asynchronous mode
  bool stopping_ = false;
  std::atomic<bool> work_ = false;
  std::thread thread_;
};

} // namespace weft::tests
