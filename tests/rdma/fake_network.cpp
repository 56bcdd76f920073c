#include "rdma/fake_network_parts.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::tests {

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

void fake_network::hang(std::size_t rail) {
  const std::lock_guard lock(lock_);
  devices_[rail]->state = cable::hung;
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

std::size_t fake_network::listeners() const {
  const std::lock_guard lock(lock_);
  return static_cast<std::size_t>(std::ranges::count_if(identities_, [](const auto* each) { return each->listening; }));
}

void fake_network::tell_of_device(std::size_t rail, ibv_event_type what) {
  const std::lock_guard lock(lock_);
  ibv_async_event event{};
  event.event_type = what;
  for (const auto& [number, each] : pairs_) {
    if (each->on != devices_[rail].get()) continue;
    if (what == IBV_EVENT_CQ_ERR) {
      event.element.cq = each->send_cq;
      static_cast<completions&>(*each->send_cq).dead = true;
    } else if (what == IBV_EVENT_SRQ_ERR) {
      event.element.srq = each->srq;
    } else if (what == IBV_EVENT_QP_FATAL) {
      event.element.qp = each;
    }
  }
  devices_[rail]->events.push_back(event);
  devices_[rail]->signal.raise();
}

bool fake_network::is_refused(std::size_t rail, std::span<const std::byte> greeting) {
  const auto& by = table();
  event_queue answers;
  identity stranger;
  stranger.queue = &answers;
  stranger.on = devices_[rail].get();
  {
    const std::lock_guard lock(lock_);
    for (const auto* each : identities_) {
      if (each->listening && each->on == stranger.on) stranger.port = each->port;
    }
  }
  rdma_conn_param terms{};
  terms.private_data = greeting.data();
  terms.private_data_len = static_cast<std::uint8_t>(greeting.size());
  if (by.connect(&stranger, &terms) != 0) return false;
  rdma_cm_event* answer = nullptr;
  while (by.get_cm_event(&answers, &answer) != 0) std::this_thread::yield();
  const bool refused = answer->event == RDMA_CM_EVENT_REJECTED;
  by.ack_cm_event(answer);
  const std::lock_guard lock(lock_);
  if (stranger.other != nullptr) stranger.other->other = nullptr;
  return refused;
}

void fake_network::allow_reads(int most) {
  const std::lock_guard lock(lock_);
  reads_ = most;
}

void fake_network::lead_from(std::uint8_t gid, bool ignored) {
  const std::lock_guard lock(lock_);
  leads_from_ = gid;
  ignores_source_ = ignored;
}

std::vector<fake_network::attributes> fake_network::connected() const {
  const std::lock_guard lock(lock_);
  std::vector<attributes> all;
  for (const auto& [number, each] : pairs_) {
    const auto other = pairs_.find(each->peer);
    if (each->state != IBV_QPS_RTS || other == pairs_.end()) continue;
    all.push_back({each->to_receive, each->to_send, other->second->to_receive});
  }
  return all;
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
  if (of.on->state == cable::hung && of.state != IBV_QPS_ERR) return;
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
    const bool inside =
        length == 0 || (region != regions_.end() && region->second->context == &to->on->context && at >= begin &&
                        length <= region->second->length && at - begin <= region->second->length - length);
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
  if (to.dead) return;
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
  static const path::verbs::calls made = [] {
    path::verbs::calls all{};
    add_manager_calls(all);
    add_verbs_calls(all);
    make_all_failing(all);
    return all;
  }();
  return made;
}

} // namespace weft::tests
