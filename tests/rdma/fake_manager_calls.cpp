// librdmacm, as the fake network has it.
#include "rdma/fake_network_parts.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace weft::tests {

void fake_network::add_manager_calls(path::verbs::calls& made) {
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
  made.set_option = [](rdma_cm_id* id, int, int name, void* value, std::size_t) {
    if (name == RDMA_OPTION_ID_TOS) static_cast<identity&>(*id).traffic_class = *static_cast<std::uint8_t*>(value);
    return 0;
  };
  made.resolve_addr = [](rdma_cm_id* id, sockaddr* from, sockaddr* address, int) {
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
    auto& source = id->route.addr.src_sin;
    source = {};
    source.sin_family = AF_INET;
    source.sin_addr.s_addr = address_of(dialling.on->rail);
    const auto* named = reinterpret_cast<const sockaddr_in*>(from);
    if (named != nullptr && !current_->ignores_source_ && named->sin_addr.s_addr == source.sin_addr.s_addr) {
      dialling.leads_from = gid_index;
    } else if (dialling.leads_from = current_->leads_from_; dialling.leads_from != gid_index) {
      source.sin_addr.s_addr |= htonl(dialling.leads_from << 1U); // the host's other address there
    }
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
    asked->traffic_class = dialling.traffic_class;
    dialling.other = asked;
    current_->identities_.push_back(asked);
    current_->tell(*asked, RDMA_CM_EVENT_CONNECT_REQUEST, 0, with);
    return 0;
  };
  made.accept = [](rdma_cm_id* id, rdma_conn_param* with) {
    const std::lock_guard lock(current_->lock_);
    auto& accepting = static_cast<identity&>(*id);
    if (accepting.other == nullptr) return fail_with(ECONNRESET);
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
      auto* gid = attributes->ah_attr.grh.dgid.raw; // an IPv4 address in IPv6
      const auto address = address_of(static_cast<identity&>(*id).on->rail);
      gid[10] = gid[11] = 0xff;
      std::memcpy(gid + 12, &address, sizeof address);
      attributes->ah_attr.grh.sgid_index = static_cast<identity&>(*id).leads_from;
      attributes->ah_attr.grh.traffic_class = static_cast<identity&>(*id).traffic_class;
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
    *out = next;
    return 0;
  };
  made.ack_cm_event = [](rdma_cm_event* acknowledged) {
    delete static_cast<notice*>(acknowledged);
    return 0;
  };
}

} // namespace weft::tests
