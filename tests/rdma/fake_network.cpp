#include "rdma/fake_network.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::tests {
namespace {

constexpr std::size_t private_data_size = 56;
constexpr std::uint32_t inline_limit = 220;
constexpr std::size_t most_parts = 16;

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
in_addr_t address_of(std::size_t rail) {
  return htonl((10U << 24) | (77U << 16) | (static_cast<std::uint32_t>(rail) << 8) | 1U);
}

int fail_with(int code) {
  errno = code;
  return -1;
}

} // namespace

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
  identity* other = nullptr;   ///< its connection's other end
  std::uint32_t own_pair = 0;  ///< as it told the other end
  std::uint32_t peer_pair = 0; ///< as that told it
  bool connected = false;
};

fake_network::fake_network(options chosen) : options_(chosen) {
  for (std::size_t i = 0; i < options_.rails; ++i) devices_.push_back(std::make_unique<device>(i));
  current_ = this;
  path::verbs::use_calls(&table());
  if (options_.asynchronous) thread_ = std::thread([this] { run(); });
}

fake_network::~fake_network() {
  {
    const std::lock_guard lock(lock_);
    stopping_ = true;
  }
  work_ = true;
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
  path::verbs::use_calls(nullptr);
  current_ = nullptr;
}

void fake_network::unplug(std::size_t rail) {
  const std::lock_guard lock(lock_);
  devices_[rail]->state = cable::unplugged;
}

void fake_network::plug(std::size_t rail) {
  const std::lock_guard lock(lock_);
  devices_[rail]->state = cable::plugged;
}

void fake_network::deafen(std::size_t rail) {
  const std::lock_guard lock(lock_);
  devices_[rail]->state = cable::deaf;
}

void fake_network::let_only_connect(std::size_t rail) {
  const std::lock_guard lock(lock_);
  devices_[rail]->state = cable::connects_only;
}

void fake_network::fail_request(ibv_wr_opcode kind, ibv_wc_status status, std::size_t after) {
  const std::lock_guard lock(lock_);
  failing_ = {.due = true, .after = after, .kind = kind, .status = status};
}

void fake_network::misplace(std::ptrdiff_t by, std::size_t after) {
  const std::lock_guard lock(lock_);
  misplacing_ = {.due = true, .after = after, .by = by};
}

void fake_network::refuse_memory(std::size_t rail, int code) {
  const std::lock_guard lock(lock_);
  devices_[rail]->refuses_memory = code;
}

void fake_network::refuse_pairs(std::size_t rail, int code) {
  const std::lock_guard lock(lock_);
  devices_[rail]->refuses_pairs = code;
}

std::uint64_t fake_network::requests(std::size_t rail) const {
  const std::lock_guard lock(lock_);
  return devices_[rail]->requests;
}

std::size_t fake_network::pairs() const {
  const std::lock_guard lock(lock_);
  return pairs_.size();
}

std::size_t fake_network::regions() const {
  const std::lock_guard lock(lock_);
  return regions_.size();
}

std::size_t fake_network::attempts(std::size_t rail) const {
  const std::lock_guard lock(lock_);
  return devices_[rail]->attempts;
}

std::string fake_network::complaints() const {
  const std::lock_guard lock(lock_);
  return complaints_;
}

// All that follows is called with the lock held, but for run() and what the table holds.

void fake_network::complain(const char* what) {
  complaints_ += complaints_.empty() ? what : std::string("; ") + what;
}

fake_network::pair* fake_network::find(std::uint32_t number) {
  const auto found = pairs_.find(number);
  return found == pairs_.end() ? nullptr : found->second;
}

void fake_network::run() {
  while (true) {
    work_.wait(false);
    work_ = false;
    while (true) {
      const std::lock_guard lock(lock_);
      if (stopping_) return;
      if (busy_.empty()) break;
      auto& next = *busy_.front();
      busy_.pop_front();
      carry_out(next);
    }
  }
}

/// One request, in asynchronous mode; else all.
void fake_network::carry_out(pair& of) {
  of.busy = false;
  while (of.count > 0) {
    const auto& request = of.requests[of.first]; // stays as it is until the lock is given up
    of.first = (of.first + 1) % of.requests.size();
    --of.count;
    carry_out_one(of, request);
    if (options_.asynchronous) break;
  }
  if (of.count > 0 && !of.busy) {
    of.busy = true;
    busy_.push_back(&of);
  }
}

void fake_network::carry_out_one(pair& of, const work& request) {
  if (of.state == IBV_QPS_ERR) return complete(of, request, IBV_WC_WR_FLUSH_ERR);
  const auto broken = [&](ibv_wc_status status) {
    complete(of, request, status);
    break_down(of);
  };
  if (failing_.due && failing_.kind == request.kind && failing_.after-- == 0) {
    failing_.due = false;
    return broken(failing_.status);
  }
  auto* to = find(of.peer);
  const auto reached = to != nullptr && to->peer == of.qp_num && (to->state == IBV_QPS_RTR || to->state == IBV_QPS_RTS);
  const auto state = of.on->state;
  if (!reached || state == cable::unplugged || state == cable::connects_only) return broken(IBV_WC_RETRY_EXC_ERR);
  ++of.on->requests;
  if (request.kind == IBV_WR_RDMA_WRITE) {
    auto at = request.remote;
    if (misplacing_.due && misplacing_.after-- == 0) {
      misplacing_.due = false;
      at += static_cast<std::uint64_t>(misplacing_.by);
    }
    std::size_t length = 0;
    for (std::size_t i = 0; i < request.parts; ++i) length += request.part[i].length;
    const auto region = regions_.find(request.key);
    const auto begin = region == regions_.end() ? 0 : reinterpret_cast<std::uintptr_t>(region->second->addr);
    const bool inside = region != regions_.end() && region->second->context == &to->on->context && at >= begin &&
                        length <= region->second->length && at - begin <= region->second->length - length;
    if (!inside) {
      break_down(*to);
      return broken(IBV_WC_REM_ACCESS_ERR);
    }
    if (options_.moves_payload && !gather(of, request, reinterpret_cast<std::byte*>(at), length)) {
      return broken(IBV_WC_LOC_PROT_ERR);
    }
  } else {
    auto& queue = static_cast<receives&>(*to->srq);
    if (queue.count == 0) return broken(IBV_WC_RNR_RETRY_EXC_ERR);
    const auto slot = queue.slots[queue.first];
    std::size_t length = 0;
    for (std::size_t i = 0; i < request.parts; ++i) length += request.part[i].length;
    if (length > slot.place.length) return broken(IBV_WC_REM_INV_REQ_ERR);
    if (!gather(of, request, reinterpret_cast<std::byte*>(slot.place.addr), length)) return broken(IBV_WC_LOC_PROT_ERR);
    queue.first = (queue.first + 1) % queue.slots.size();
    --queue.count;
    ibv_wc arrival{};
    arrival.wr_id = slot.number;
    arrival.status = IBV_WC_SUCCESS;
    arrival.opcode = IBV_WC_RECV;
    arrival.byte_len = static_cast<std::uint32_t>(length);
    arrival.qp_num = to->qp_num;
    arrival.imm_data = request.imm;
    arrival.wc_flags = request.kind == IBV_WR_SEND_WITH_IMM ? IBV_WC_WITH_IMM : 0;
    push(static_cast<completions&>(*to->recv_cq), arrival);
  }
  if ((request.flags & IBV_SEND_SIGNALED) != 0) complete(of, request, IBV_WC_SUCCESS);
}

bool fake_network::gather(pair& of, const work& request, std::byte* to, std::size_t room) {
  if ((request.flags & IBV_SEND_INLINE) != 0) {
    std::memcpy(to, request.inlined.data(), room);
    return true;
  }
  for (std::size_t i = 0; i < request.parts; ++i) {
    const auto& part = request.part[i];
    const auto region = regions_.find(part.lkey);
    const auto begin = region == regions_.end() ? 0 : reinterpret_cast<std::uintptr_t>(region->second->addr);
    const bool inside = region != regions_.end() && region->second->context == &of.on->context && part.addr >= begin &&
                        part.addr + part.length <= begin + region->second->length;
    if (!inside) return false;
    std::memcpy(to, reinterpret_cast<const std::byte*>(part.addr), part.length);
    to += part.length;
  }
  return true;
}

void fake_network::complete(pair& of, const work& request, ibv_wc_status status) {
  ibv_wc entry{};
  entry.wr_id = request.number;
  entry.status = status;
  entry.opcode = request.kind == IBV_WR_RDMA_WRITE ? IBV_WC_RDMA_WRITE : IBV_WC_SEND;
  entry.qp_num = of.qp_num;
  entry.vendor_err = request.sequence; // until it is polled
  push(static_cast<completions&>(*of.send_cq), entry);
}

void fake_network::push(completions& to, const ibv_wc& entry) {
  if (to.count == to.capacity) return complain("a completion queue overflowed");
  to.entries[(to.first + to.count++) % to.entries.size()] = entry;
  if (!std::exchange(to.armed, false)) return;
  auto& channel = static_cast<wake_up&>(*to.channel);
  channel.events.push_back(&to);
  channel.signal.raise();
}

/// To the state ERR: what is posted is flushed, and its shared receive queue is told that it takes no more.
void fake_network::break_down(pair& of) {
  if (of.state == IBV_QPS_ERR) return;
  of.state = IBV_QPS_ERR;
  for (; of.count > 0; --of.count) {
    complete(of, of.requests[of.first], IBV_WC_WR_FLUSH_ERR);
    of.first = (of.first + 1) % of.requests.size();
  }
  ibv_async_event last{};
  last.event_type = IBV_EVENT_QP_LAST_WQE_REACHED;
  last.element.qp = &of;
  of.on->events.push_back(last);
  of.on->signal.raise();
}

void fake_network::tell(identity& to, rdma_cm_event_type type, int status, const rdma_conn_param* terms) {
  auto made = std::make_unique<notice>();
  made->id = &to;
  made->event = type;
  made->status = status;
  if (terms != nullptr) {
    made->param.conn = *terms;
    if (terms->private_data != nullptr) std::memcpy(made->data.data(), terms->private_data, terms->private_data_len);
    made->param.conn.private_data = made->data.data();
    made->param.conn.private_data_len = private_data_size;
  }
  to.queue->events.push_back(std::move(made));
  to.queue->signal.raise();
}

const path::verbs::calls& fake_network::table() {
  static const path::verbs::calls made = make_table();
  return made;
}

path::verbs::calls fake_network::make_table() {
  path::verbs::calls made{};
  made.get_devices = [](int* count) {
    auto** list = new ibv_context*[current_->devices_.size() + 1];
    for (std::size_t i = 0; i < current_->devices_.size(); ++i) list[i] = &current_->devices_[i]->context;
    *count = static_cast<int>(current_->devices_.size());
    return list;
  };
  made.free_devices = [](ibv_context** list) { delete[] list; };
  made.create_event_channel = []() -> rdma_event_channel* {
    auto* queue = new event_queue();
    queue->fd = queue->signal.number();
    return queue;
  };
  made.destroy_event_channel = [](rdma_event_channel* channel) { delete static_cast<event_queue*>(channel); };
  made.create_id = [](rdma_event_channel* channel, rdma_cm_id** id, void*, rdma_port_space) {
    const std::lock_guard lock(current_->lock_);
    auto* made = new identity();
    made->queue = static_cast<event_queue*>(channel);
    made->channel = channel;
    current_->identities_.push_back(made);
    *id = made;
    return 0;
  };
  made.destroy_id = [](rdma_cm_id* id) {
    const std::lock_guard lock(current_->lock_);
    auto* gone = static_cast<identity*>(id);
    if (gone->other != nullptr) gone->other->other = nullptr;
    std::erase_if(gone->queue->events, [gone](const auto& each) { return each->id == gone; });
    std::erase(current_->identities_, gone);
    delete gone;
    return 0;
  };
  made.bind_addr = [](rdma_cm_id* id, sockaddr* address) {
    const std::lock_guard lock(current_->lock_);
    auto& bound = static_cast<identity&>(*id);
    const auto& to = *reinterpret_cast<const sockaddr_in*>(address);
    for (const auto& each : current_->devices_) {
      if (to.sin_family == AF_INET && to.sin_addr.s_addr == address_of(each->rail)) bound.on = each.get();
    }
    if (bound.on == nullptr) return fail_with(EADDRNOTAVAIL);
    bound.verbs = &bound.on->context;
    bound.port_num = 1;
    bound.port = current_->next_port_++;
    return 0;
  };
  made.listen = [](rdma_cm_id* id, int) {
    const std::lock_guard lock(current_->lock_);
    static_cast<identity&>(*id).listening = true;
    return 0;
  };
  made.get_src_port = [](rdma_cm_id* id) { return htons(static_cast<identity&>(*id).port); };
  made.set_option = [](rdma_cm_id*, int, int, void*, std::size_t) { return 0; };
  made.resolve_addr = [](rdma_cm_id* id, sockaddr*, sockaddr* address, int) {
    const std::lock_guard lock(current_->lock_);
    auto& dialling = static_cast<identity&>(*id);
    const auto& to = *reinterpret_cast<const sockaddr_in*>(address);
    for (const auto& each : current_->devices_) {
      if (to.sin_family == AF_INET && to.sin_addr.s_addr == address_of(each->rail)) dialling.on = each.get();
    }
    if (dialling.on == nullptr) {
      current_->tell(dialling, RDMA_CM_EVENT_ADDR_ERROR, -ENODEV);
      return 0;
    }
    dialling.verbs = &dialling.on->context;
    dialling.port_num = 1;
    dialling.port = ntohs(to.sin_port);
    current_->tell(dialling, RDMA_CM_EVENT_ADDR_RESOLVED);
    return 0;
  };
  made.resolve_route = [](rdma_cm_id* id, int) {
    const std::lock_guard lock(current_->lock_);
    current_->tell(static_cast<identity&>(*id), RDMA_CM_EVENT_ROUTE_RESOLVED);
    return 0;
  };
  made.connect = [](rdma_cm_id* id, rdma_conn_param* with) {
    const std::lock_guard lock(current_->lock_);
    auto& dialling = static_cast<identity&>(*id);
    if (with->private_data_len > private_data_size) return fail_with(EINVAL);
    dialling.own_pair = with->qp_num;
    ++dialling.on->attempts;
    if (dialling.on->state == cable::unplugged || dialling.on->state == cable::deaf) return 0;
    identity* listener = nullptr;
    for (auto* each : current_->identities_) {
      if (each->listening && each->on == dialling.on && each->port == dialling.port) listener = each;
    }
    if (listener == nullptr) {
      current_->tell(dialling, RDMA_CM_EVENT_REJECTED, -ECONNREFUSED);
      return 0;
    }
    auto* asked = new identity();
    asked->queue = listener->queue;
    asked->channel = listener->channel;
    asked->on = listener->on;
    asked->verbs = &asked->on->context;
    asked->port_num = 1;
    asked->other = &dialling;
    asked->peer_pair = with->qp_num;
    dialling.other = asked;
    current_->identities_.push_back(asked);
    current_->tell(*asked, RDMA_CM_EVENT_CONNECT_REQUEST, 0, with);
    return 0;
  };
  made.accept = [](rdma_cm_id* id, rdma_conn_param* with) {
    const std::lock_guard lock(current_->lock_);
    auto& accepting = static_cast<identity&>(*id);
    if (accepting.other == nullptr) return fail_with(ECONNRESET);
    accepting.own_pair = with->qp_num;
    accepting.other->peer_pair = with->qp_num;
    current_->tell(*accepting.other, RDMA_CM_EVENT_CONNECT_RESPONSE, 0, with);
    return 0;
  };
  made.reject = [](rdma_cm_id* id, const void*, std::uint8_t) {
    const std::lock_guard lock(current_->lock_);
    auto& rejecting = static_cast<identity&>(*id);
    if (rejecting.other != nullptr) current_->tell(*rejecting.other, RDMA_CM_EVENT_REJECTED, 28);
    return 0;
  };
  made.establish = [](rdma_cm_id* id) {
    const std::lock_guard lock(current_->lock_);
    auto& dialling = static_cast<identity&>(*id);
    if (dialling.other == nullptr) return fail_with(ECONNRESET);
    dialling.connected = dialling.other->connected = true;
    current_->tell(*dialling.other, RDMA_CM_EVENT_ESTABLISHED);
    return 0;
  };
  made.disconnect = [](rdma_cm_id* id) {
    const std::lock_guard lock(current_->lock_);
    auto& leaving = static_cast<identity&>(*id);
    if (!std::exchange(leaving.connected, false) || leaving.other == nullptr) return 0;
    leaving.other->connected = false;
    if (leaving.on->state != cable::unplugged) current_->tell(*leaving.other, RDMA_CM_EVENT_DISCONNECTED);
    return 0;
  };
  made.init_qp_attr = [](rdma_cm_id* id, ibv_qp_attr* attributes, int* mask) {
    const std::lock_guard lock(current_->lock_);
    *mask = IBV_QP_STATE;
    attributes->port_num = 1;
    attributes->path_mtu = IBV_MTU_4096;
    if (attributes->qp_state == IBV_QPS_RTR) {
      attributes->dest_qp_num = static_cast<identity&>(*id).peer_pair;
      *mask |= IBV_QP_DEST_QPN;
    }
    return 0;
  };
  made.get_cm_event = [](rdma_event_channel* channel, rdma_cm_event** out) {
    const std::lock_guard lock(current_->lock_);
    auto& queue = static_cast<event_queue&>(*channel);
    if (queue.events.empty()) {
      queue.signal.clear();
      return fail_with(EAGAIN);
    }
    auto* next = queue.events.front().release();
    queue.events.pop_front();
    // The dialling end learns the other's queue pair with the answer, as the kernel's manager does.
    *out = next;
    return 0;
  };
  made.ack_cm_event = [](rdma_cm_event* acknowledged) {
    delete static_cast<notice*>(acknowledged);
    return 0;
  };

  made.get_device_name = [](ibv_device* of) -> const char* { return of->name; };
  made.query_device = [](ibv_context*, ibv_device_attr* attributes) {
    *attributes = {};
    attributes->phys_port_cnt = 1;
    attributes->max_qp_wr = 1024;
    attributes->max_cqe = 1 << 15;
    attributes->max_srq_wr = 1 << 14;
    attributes->max_sge = 4;
    attributes->max_qp_rd_atom = attributes->max_qp_init_rd_atom = 16;
    return 0;
  };
  made.query_port = [](ibv_context*, std::uint8_t, ibv_port_attr* attributes) {
    *attributes = {};
    attributes->state = IBV_PORT_ACTIVE;
    attributes->active_mtu = attributes->max_mtu = IBV_MTU_4096;
    attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
    attributes->gid_tbl_len = 1;
    return 0;
  };
  made.query_gid_table = [](ibv_context* of, ibv_gid_entry* entries, std::size_t) -> ssize_t {
    std::size_t rail = 0;
    while (&current_->devices_[rail]->context != of) ++rail;
    entries[0] = {};
    entries[0].port_num = 1;
    entries[0].gid_type = IBV_GID_TYPE_ROCE_V2;
    const auto address = address_of(rail);
    entries[0].gid.raw[10] = entries[0].gid.raw[11] = 0xff;
    std::memcpy(&entries[0].gid.raw[12], &address, sizeof address);
    return 1;
  };
  made.get_async_event = [](ibv_context* of, ibv_async_event* out) {
    const std::lock_guard lock(current_->lock_);
    for (const auto& each : current_->devices_) {
      if (&each->context != of) continue;
      if (each->events.empty()) {
        each->signal.clear();
        break;
      }
      *out = each->events.front();
      each->events.pop_front();
      return 0;
    }
    return fail_with(EAGAIN);
  };
  made.ack_async_event = [](ibv_async_event*) {};
  made.alloc_pd = [](ibv_context* of) -> ibv_pd* {
    auto* domain_made = new domain();
    domain_made->context = of;
    return domain_made;
  };
  made.dealloc_pd = [](ibv_pd* of) {
    delete static_cast<domain*>(of);
    return 0;
  };
  made.reg_mr = [](ibv_pd* in, void* memory, std::size_t length, int) -> ibv_mr* {
    const std::lock_guard lock(current_->lock_);
    for (const auto& each : current_->devices_) {
      if (&each->context == in->context && each->refuses_memory != 0) {
        errno = each->refuses_memory;
        return nullptr;
      }
    }
    auto region = std::make_unique<ibv_mr>();
    region->context = in->context;
    region->pd = in;
    region->addr = memory;
    region->length = length;
    region->lkey = region->rkey = current_->next_key_;
    current_->next_key_ += 0x101;
    return current_->regions_.emplace(region->lkey, std::move(region)).first->second.get();
  };
  made.dereg_mr = [](ibv_mr* region) {
    const std::lock_guard lock(current_->lock_);
    current_->regions_.erase(region->lkey);
    return 0;
  };
  made.create_comp_channel = [](ibv_context* of) -> ibv_comp_channel* {
    auto* channel = new wake_up();
    channel->context = of;
    channel->fd = channel->signal.number();
    return channel;
  };
  made.destroy_comp_channel = [](ibv_comp_channel* of) {
    delete static_cast<wake_up*>(of);
    return 0;
  };
  made.create_cq = [](ibv_context* of, int entries, void*, ibv_comp_channel* channel, int) -> ibv_cq* {
    auto* queue = new completions();
    queue->context = of;
    queue->channel = channel;
    queue->capacity = static_cast<std::size_t>(entries);
    queue->entries.resize(queue->capacity);
    return queue;
  };
  made.destroy_cq = [](ibv_cq* of) {
    delete static_cast<completions*>(of);
    return 0;
  };
  made.resize_cq = [](ibv_cq* of, int entries) {
    const std::lock_guard lock(current_->lock_);
    auto& queue = static_cast<completions&>(*of);
    std::rotate(queue.entries.begin(), queue.entries.begin() + static_cast<std::ptrdiff_t>(queue.first),
                queue.entries.end());
    queue.first = 0;
    queue.capacity = static_cast<std::size_t>(entries);
    queue.entries.resize(std::max(queue.capacity, queue.entries.size()));
    return 0;
  };
  made.req_notify_cq = [](ibv_cq* of, int) {
    const std::lock_guard lock(current_->lock_);
    static_cast<completions&>(*of).armed = true;
    return 0;
  };
  made.poll_cq = [](ibv_cq* of, int most, ibv_wc* out) {
    auto& queue = static_cast<completions&>(*of);
    const std::lock_guard lock(current_->lock_);
    int taken = 0;
    for (; taken < most && queue.count > 0; ++taken) {
      out[taken] = queue.entries[queue.first];
      queue.first = (queue.first + 1) % queue.entries.size();
      --queue.count;
      // What the owner learns of its send queue: every request up to a completed one has ended.
      auto* pair = current_->find(out[taken].qp_num);
      if (pair != nullptr && out[taken].opcode != IBV_WC_RECV) pair->retired = out[taken].vendor_err;
      out[taken].vendor_err = out[taken].status == IBV_WC_SUCCESS ? 0 : 0x81;
    }
    return taken;
  };
  made.get_cq_event = [](ibv_comp_channel* of, ibv_cq** queue, void**) {
    const std::lock_guard lock(current_->lock_);
    auto& channel = static_cast<wake_up&>(*of);
    if (channel.events.empty()) {
      channel.signal.clear();
      return fail_with(EAGAIN);
    }
    *queue = channel.events.front();
    channel.events.pop_front();
    return 0;
  };
  made.ack_cq_events = [](ibv_cq*, unsigned) {};
  made.create_srq = [](ibv_pd* in, ibv_srq_init_attr* attributes) -> ibv_srq* {
    auto* queue = new receives();
    queue->context = in->context;
    queue->slots.resize(attributes->attr.max_wr);
    return queue;
  };
  made.destroy_srq = [](ibv_srq* of) {
    delete static_cast<receives*>(of);
    return 0;
  };
  made.post_srq_recv = [](ibv_srq* of, ibv_recv_wr* requests, ibv_recv_wr** bad) {
    const std::lock_guard lock(current_->lock_);
    auto& queue = static_cast<receives&>(*of);
    for (; requests != nullptr; requests = requests->next) {
      if (queue.count == queue.slots.size()) {
        current_->complain("a shared receive queue overflowed");
        *bad = requests;
        return ENOMEM;
      }
      queue.slots[(queue.first + queue.count++) % queue.slots.size()] = {requests->wr_id, requests->sg_list[0]};
    }
    return 0;
  };
  made.create_qp = [](ibv_pd* in, ibv_qp_init_attr* wanted) -> ibv_qp* {
    const std::lock_guard lock(current_->lock_);
    device* on = nullptr;
    for (const auto& each : current_->devices_) {
      if (&each->context == in->context) on = each.get();
    }
    if (on->refuses_pairs != 0 || wanted->cap.max_inline_data > inline_limit) {
      errno = on->refuses_pairs != 0 ? on->refuses_pairs : EINVAL;
      return nullptr;
    }
    auto* created = new pair();
    created->context = in->context;
    created->on = on;
    created->qp_num = current_->next_pair_++;
    created->state = IBV_QPS_RESET;
    created->send_cq = wanted->send_cq;
    created->recv_cq = wanted->recv_cq;
    created->srq = wanted->srq;
    created->depth = wanted->cap.max_send_wr;
    created->requests.resize(created->depth);
    current_->pairs_[created->qp_num] = created;
    return created;
  };
  made.modify_qp = [](ibv_qp* of, ibv_qp_attr* attributes, int mask) {
    const std::lock_guard lock(current_->lock_);
    auto& changed = static_cast<pair&>(*of);
    if ((mask & IBV_QP_DEST_QPN) != 0) changed.peer = attributes->dest_qp_num;
    if ((mask & IBV_QP_STATE) == 0) return 0;
    if (attributes->qp_state == IBV_QPS_ERR) {
      current_->break_down(changed);
    } else {
      changed.state = attributes->qp_state;
    }
    return 0;
  };
  made.destroy_qp = [](ibv_qp* of) {
    const std::lock_guard lock(current_->lock_);
    auto* gone = static_cast<pair*>(of);
    std::erase(current_->busy_, gone);
    std::erase_if(gone->on->events, [gone](const ibv_async_event& each) { return each.element.qp == gone; });
    current_->pairs_.erase(gone->qp_num);
    // As providers do: completions that nobody has taken are gone with it, and with those of receives their slots.
    for (auto* each : {gone->send_cq, gone->recv_cq}) {
      auto& queue = static_cast<completions&>(*each);
      for (auto left = queue.count; left > 0; --left) {
        const auto entry = queue.entries[queue.first];
        queue.first = (queue.first + 1) % queue.entries.size();
        --queue.count;
        if (entry.qp_num == gone->qp_num) {
          if (entry.opcode == IBV_WC_RECV) current_->complain("a receive was lost with its queue pair");
        } else {
          queue.entries[(queue.first + queue.count++) % queue.entries.size()] = entry;
        }
      }
    }
    delete gone;
    return 0;
  };
  made.post_send = [](ibv_qp* of, ibv_send_wr* requests, ibv_send_wr** bad) {
    auto& to = static_cast<pair&>(*of);
    const std::lock_guard lock(current_->lock_);
    for (; requests != nullptr; requests = requests->next) {
      if (++to.posted - to.retired > to.depth) {
        current_->complain("a send queue overflowed");
        *bad = requests;
        return ENOMEM;
      }
      auto& kept = to.requests[(to.first + to.count++) % to.requests.size()];
      kept.number = requests->wr_id;
      kept.sequence = to.posted;
      kept.kind = requests->opcode;
      kept.flags = requests->send_flags;
      kept.imm = requests->imm_data;
      kept.remote = requests->wr.rdma.remote_addr;
      kept.key = requests->wr.rdma.rkey;
      kept.parts = static_cast<std::size_t>(requests->num_sge);
      std::copy_n(requests->sg_list, requests->num_sge, kept.part.begin());
      if ((kept.flags & IBV_SEND_INLINE) != 0) {
        auto at = kept.inlined.begin();
        for (std::size_t i = 0; i < kept.parts; ++i) {
          const auto* from = reinterpret_cast<const std::byte*>(kept.part[i].addr);
          at = std::copy_n(from, kept.part[i].length, at);
        }
      }
    }
    if (!current_->options_.asynchronous) {
      current_->carry_out(to);
    } else if (!std::exchange(to.busy, true)) {
      current_->busy_.push_back(&to);
      current_->work_ = true;
      current_->work_.notify_one();
    }
    return 0;
  };
  return made;
}

} // namespace weft::tests
