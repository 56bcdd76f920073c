// libibverbs, as the fake network has it.
#include "rdma/fake_network_parts.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::tests {

void fake_network::add_verbs_calls(path::verbs::calls& made) {
  made.get_device_name = [](ibv_device* of) -> const char* { return of->name; };
  made.query_device = [](ibv_context*, ibv_device_attr* attributes) {
    *attributes = {};
    attributes->phys_port_cnt = 1;
    attributes->max_qp_wr = 1024;
    attributes->max_cqe = 1 << 15;
    attributes->max_srq_wr = 1 << 14;
    attributes->max_sge = 4;
    const std::lock_guard lock(current_->lock_);
    attributes->max_qp_rd_atom = attributes->max_qp_init_rd_atom = current_->reads_;
    return 0;
  };
  made.query_port = [](ibv_context*, std::uint8_t, ibv_port_attr* attributes) {
    *attributes = {};
    attributes->state = IBV_PORT_ACTIVE;
    attributes->active_mtu = attributes->max_mtu = IBV_MTU_4096;
    attributes->link_layer = IBV_LINK_LAYER_ETHERNET;
    attributes->gid_tbl_len = gid_index + 1;
    return 0;
  };
  made.query_gid_table = [](ibv_context* of, ibv_gid_entry* entries, std::size_t) -> ssize_t {
    std::size_t rail = 0;
    while (&current_->devices_[rail]->context != of) ++rail;
    const auto address = address_of(rail);
    for (std::uint32_t i = 0; i <= gid_index; ++i) {
      entries[i] = {};
      entries[i].gid_index = i;
      entries[i].port_num = 1;
      entries[i].gid_type = IBV_GID_TYPE_ROCE_V2;
      entries[i].gid.raw[10] = entries[i].gid.raw[11] = 0xff;
      std::memcpy(&entries[i].gid.raw[12], &address, sizeof address);
    }
    entries[0].gid = {.raw = {0xfe, 0x80}}; // of the link alone
    entries[1].gid_type = IBV_GID_TYPE_ROCE_V1;
    return gid_index + 1;
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
      if (changed.state == IBV_QPS_RTR) changed.to_receive = *attributes;
      if (changed.state == IBV_QPS_RTS) changed.to_send = *attributes;
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
          // Of a queue that could not be polled nobody could have taken it.
          const bool lost = entry.opcode == IBV_WC_RECV && !current_->cannot_poll_;
          if (lost) current_->complain("a receive was lost with its queue pair");
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
}

} // namespace weft::tests
