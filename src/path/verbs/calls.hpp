// Every call into libibverbs and librdmacm goes through this table, so that a test can put a network card of its own
// behind it. The types are theirs; owned<> frees what a call made through the same table.
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <memory>

namespace weft::path::verbs {

/// Each member is the function of the same name, without its prefix. As there: 0, or -1 with errno set (librdmacm), or
/// an errno (libibverbs, where it returns int).
struct calls {
  // librdmacm
  ibv_context** (*get_devices)(int* count);
  void (*free_devices)(ibv_context** list);
  rdma_event_channel* (*create_event_channel)();
  void (*destroy_event_channel)(rdma_event_channel* channel);
  int (*create_id)(rdma_event_channel* channel, rdma_cm_id** id, void* context, rdma_port_space space);
  int (*destroy_id)(rdma_cm_id* id);
  int (*bind_addr)(rdma_cm_id* id, sockaddr* address);
  int (*listen)(rdma_cm_id* id, int backlog);
  std::uint16_t (*get_src_port)(rdma_cm_id* id);
  int (*set_option)(rdma_cm_id* id, int level, int name, void* value, std::size_t length);
  int (*resolve_addr)(rdma_cm_id* id, sockaddr* from, sockaddr* to, int timeout_ms);
  int (*resolve_route)(rdma_cm_id* id, int timeout_ms);
  int (*connect)(rdma_cm_id* id, rdma_conn_param* with);
  int (*accept)(rdma_cm_id* id, rdma_conn_param* with);
  int (*reject)(rdma_cm_id* id, const void* data, std::uint8_t length);
  int (*establish)(rdma_cm_id* id);
  int (*disconnect)(rdma_cm_id* id);
  int (*init_qp_attr)(rdma_cm_id* id, ibv_qp_attr* attributes, int* mask);
  int (*get_cm_event)(rdma_event_channel* channel, rdma_cm_event** event);
  int (*ack_cm_event)(rdma_cm_event* event);
  // libibverbs
  const char* (*get_device_name)(ibv_device* device);
  int (*query_device)(ibv_context* context, ibv_device_attr* attributes);
  int (*query_port)(ibv_context* context, std::uint8_t port, ibv_port_attr* attributes);
  ssize_t (*query_gid_table)(ibv_context* context, ibv_gid_entry* entries, std::size_t most);
  int (*get_async_event)(ibv_context* context, ibv_async_event* event);
  void (*ack_async_event)(ibv_async_event* event);
  ibv_pd* (*alloc_pd)(ibv_context* context);
  int (*dealloc_pd)(ibv_pd* domain);
  ibv_mr* (*reg_mr)(ibv_pd* domain, void* memory, std::size_t length, int access);
  int (*dereg_mr)(ibv_mr* region);
  ibv_comp_channel* (*create_comp_channel)(ibv_context* context);
  int (*destroy_comp_channel)(ibv_comp_channel* channel);
  ibv_cq* (*create_cq)(ibv_context* context, int entries, void* owner, ibv_comp_channel* channel, int vector);
  int (*destroy_cq)(ibv_cq* queue);
  int (*resize_cq)(ibv_cq* queue, int entries);
  int (*req_notify_cq)(ibv_cq* queue, int solicited_only);
  int (*poll_cq)(ibv_cq* queue, int most, ibv_wc* completions);
  int (*get_cq_event)(ibv_comp_channel* channel, ibv_cq** queue, void** owner);
  void (*ack_cq_events)(ibv_cq* queue, unsigned count);
  ibv_srq* (*create_srq)(ibv_pd* domain, ibv_srq_init_attr* attributes);
  int (*destroy_srq)(ibv_srq* queue);
  int (*post_srq_recv)(ibv_srq* queue, ibv_recv_wr* requests, ibv_recv_wr** bad);
  ibv_qp* (*create_qp)(ibv_pd* domain, ibv_qp_init_attr* attributes);
  int (*modify_qp)(ibv_qp* pair, ibv_qp_attr* attributes, int mask);
  int (*destroy_qp)(ibv_qp* pair);
  int (*post_send)(ibv_qp* pair, ibv_send_wr* requests, ibv_send_wr** bad);
};

/// What fabrics call from now on: the libraries' functions, unless a test put a network of its own there.
[[nodiscard]] const calls& calls_in_use() noexcept;
/// Null: the libraries' again. No fabric may be open.
void use_calls(const calls* by) noexcept;

template <class Handle, auto Free>
struct freed_by {
  const calls* by = nullptr;
  void operator()(Handle* handle) const noexcept { (by->*Free)(handle); }
};
template <class Handle, auto Free>
using owned = std::unique_ptr<Handle, freed_by<Handle, Free>>;

using event_channel = owned<rdma_event_channel, &calls::destroy_event_channel>;
using connection_id = owned<rdma_cm_id, &calls::destroy_id>;
using protection_domain = owned<ibv_pd, &calls::dealloc_pd>;
using memory_region = owned<ibv_mr, &calls::dereg_mr>;
using completion_channel = owned<ibv_comp_channel, &calls::destroy_comp_channel>;
using completion_queue = owned<ibv_cq, &calls::destroy_cq>;
using receive_queue = owned<ibv_srq, &calls::destroy_srq>;
using queue_pair = owned<ibv_qp, &calls::destroy_qp>;

} // namespace weft::path::verbs
