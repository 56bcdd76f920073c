#include "path/verbs/calls.hpp"

namespace weft::path::verbs {

namespace {

const calls* chosen = nullptr;

const calls& calls_of_libraries() noexcept {
  // Some of them are macros or functions of a header: each gets a function of its own.
  static const calls table{
      .get_devices = ::rdma_get_devices,
      .free_devices = ::rdma_free_devices,
      .create_event_channel = ::rdma_create_event_channel,
      .destroy_event_channel = ::rdma_destroy_event_channel,
      .create_id = ::rdma_create_id,
      .destroy_id = ::rdma_destroy_id,
      .bind_addr = ::rdma_bind_addr,
      .listen = ::rdma_listen,
      .get_src_port = [](rdma_cm_id* id) { return static_cast<std::uint16_t>(::rdma_get_src_port(id)); },
      .set_option = ::rdma_set_option,
      .resolve_addr = ::rdma_resolve_addr,
      .resolve_route = ::rdma_resolve_route,
      .connect = ::rdma_connect,
      .accept = ::rdma_accept,
      .reject = ::rdma_reject,
      .establish = ::rdma_establish,
      .disconnect = ::rdma_disconnect,
      .init_qp_attr = ::rdma_init_qp_attr,
      .get_cm_event = ::rdma_get_cm_event,
      .ack_cm_event = ::rdma_ack_cm_event,
      .get_device_name = ::ibv_get_device_name,
      .query_device = ::ibv_query_device,
      .query_port = [](ibv_context* context, std::uint8_t port,
                       ibv_port_attr* attributes) { return ibv_query_port(context, port, attributes); },
      .query_gid_table = [](ibv_context* context, ibv_gid_entry* entries,
                            std::size_t most) { return ibv_query_gid_table(context, entries, most, 0); },
      .get_async_event = ::ibv_get_async_event,
      .ack_async_event = ::ibv_ack_async_event,
      .alloc_pd = ::ibv_alloc_pd,
      .dealloc_pd = ::ibv_dealloc_pd,
      .reg_mr = [](ibv_pd* domain, void* memory, std::size_t length,
                   int access) { return ibv_reg_mr(domain, memory, length, access); },
      .dereg_mr = ::ibv_dereg_mr,
      .create_comp_channel = ::ibv_create_comp_channel,
      .destroy_comp_channel = ::ibv_destroy_comp_channel,
      .create_cq = ::ibv_create_cq,
      .destroy_cq = ::ibv_destroy_cq,
      .resize_cq = ::ibv_resize_cq,
      .req_notify_cq = [](ibv_cq* queue, int solicited) { return ibv_req_notify_cq(queue, solicited); },
      .poll_cq = [](ibv_cq* queue, int most, ibv_wc* completions) { return ibv_poll_cq(queue, most, completions); },
      .get_cq_event = ::ibv_get_cq_event,
      .ack_cq_events = ::ibv_ack_cq_events,
      .create_srq = ::ibv_create_srq,
      .destroy_srq = ::ibv_destroy_srq,
      .post_srq_recv = [](ibv_srq* queue, ibv_recv_wr* requests,
                          ibv_recv_wr** bad) { return ibv_post_srq_recv(queue, requests, bad); },
      .create_qp = ::ibv_create_qp,
      .modify_qp = ::ibv_modify_qp,
      .destroy_qp = ::ibv_destroy_qp,
      .post_send = [](ibv_qp* pair, ibv_send_wr* requests,
                      ibv_send_wr** bad) { return ibv_post_send(pair, requests, bad); },
  };
  return table;
}

} // namespace

const calls& calls_in_use() noexcept {
  return chosen != nullptr ? *chosen : calls_of_libraries();
}

void use_calls(const calls* by) noexcept {
  chosen = by;
}

} // namespace weft::path::verbs
