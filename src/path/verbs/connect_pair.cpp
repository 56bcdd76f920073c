// The connector's queue pairs: made for a route, and brought to RTR and RTS with the lane's attributes.
#include "path/verbs/connect.hpp"

#include "lane/policy.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

/// RDMA READs in flight, at both ends: Weft sends none yet, and asks for what later ones need.
constexpr std::uint8_t reads_in_flight = 16;
/// What both the queue pair and a request may have in pieces of memory.
constexpr std::uint32_t most_parts = 16;
/// Asked of the device first; facts: lanes and performance, 2.1.
constexpr std::uint32_t inline_wanted = 220;

ibv_mtu mtu_of(std::uint32_t bytes) {
  for (const auto mtu : {IBV_MTU_256, IBV_MTU_512, IBV_MTU_1024, IBV_MTU_2048}) {
    if (bytes <= 128U << mtu) return mtu;
  }
  return IBV_MTU_4096;
}

/// The exponent of the local ACK timeout, 4.096 us * 2^n, that lasts at least `wanted` (IBA 9.7.6.1.3).
std::uint8_t timeout_exponent(duration wanted) {
  std::uint8_t exponent = 1;
  while (exponent < 31 && std::chrono::nanoseconds(std::uint64_t{4096} << exponent) < wanted) ++exponent;
  return exponent;
}

} // namespace

std::uint8_t connector::traffic_class_of(lane on) const noexcept {
  return static_cast<std::uint8_t>(lanes::marks_of(limits_, on).dscp << 2);
}

rdma_conn_param connector::terms_of(const endpoint& of) const noexcept {
  const auto& device = of.shared->on().device;
  rdma_conn_param terms{};
  terms.responder_resources = static_cast<std::uint8_t>(std::min<int>(reads_in_flight, device.max_qp_rd_atom));
  terms.initiator_depth = static_cast<std::uint8_t>(std::min<int>(reads_in_flight, device.max_qp_init_rd_atom));
  terms.retry_count = static_cast<std::uint8_t>(limits_.verbs_retries);
  terms.rnr_retry_count = static_cast<std::uint8_t>(limits_.verbs_rnr_retries);
  terms.srq = 1;
  terms.qp_num = of.pair->qp_num;
  return terms;
}

/// Each end marks what it sends: where the settings differ, one direction of a lane has another priority.
void connector::compare_marks(lane on, std::uint8_t theirs, const std::string& peer) {
  const auto ours = traffic_class_of(on);
  auto told = strange_marks_[static_cast<std::size_t>(on)][theirs >> 2];
  if (theirs == ours || told) return;
  told = true;
  log_.warning(
      "{} marks the packets of the {} lane with DSCP {}, and this end with {}: lane.{}.dscp should be the same "
      "at both",
      peer, name(on), theirs >> 2, ours >> 2, name(on));
}

result<std::unique_ptr<endpoint>> connector::make_endpoint(rdma_cm_id& id, const queues_on& from) {
  const auto* rail = rails_.of(id.verbs, id.port_num);
  if (rail == nullptr) return error(errc::unreachable, "the route leads over a device that is no rail");
  auto made = std::make_unique<endpoint>();
  made->send_depth =
      std::min<std::uint32_t>(limits_.verbs_send_depth, static_cast<std::uint32_t>(rail->device.max_qp_wr));
  auto shared = from(*rail, made->send_depth);
  if (!shared) return shared.error();
  made->shared = std::move(*shared);
  made->most_parts = std::min<std::uint32_t>(most_parts, static_cast<std::uint32_t>(rail->device.max_sge));
  ibv_qp_init_attr wanted{};
  for (const auto inline_bytes : {inline_wanted, std::uint32_t{64}, std::uint32_t{0}}) {
    wanted = {};
    wanted.send_cq = wanted.recv_cq = made->shared->completions();
    wanted.srq = made->shared->receives();
    wanted.qp_type = IBV_QPT_RC;
    wanted.cap = {.max_send_wr = made->send_depth,
                  .max_recv_wr = 0,
                  .max_send_sge = made->most_parts,
                  .max_recv_sge = 0,
                  .max_inline_data = inline_bytes};
    made->pair = {by_.create_qp(rail->domain.get(), &wanted), {&by_}};
    if (made->pair) break;
  }
  const auto failed = [&](const char* what, int code) {
    made->shared->release(made->send_depth, queues::least_credits);
    return error(code == ENOMEM ? errc::out_of_memory : errc::os_failure,
                 fmt::format("rail {}: {}: {}", rail->name, what, std::strerror(code)));
  };
  if (!made->pair) return failed("create_qp", errno);
  made->inline_bytes = wanted.cap.max_inline_data;
  ibv_qp_attr attributes{};
  int mask = 0;
  attributes.qp_state = IBV_QPS_INIT;
  if (by_.init_qp_attr(&id, &attributes, &mask) != 0) return failed("rdma_init_qp_attr", errno);
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE;
  if (const int code = by_.modify_qp(made->pair.get(), &attributes, mask | IBV_QP_ACCESS_FLAGS); code != 0) {
    return failed("modify_qp to INIT", code);
  }
  return made;
}

/// The address of the GID that verbs.rails names for the rail that `id` was led to, where it was led from another one;
/// else null.
const boost::asio::ip::address* connector::named_source(const rdma_cm_id& id) const noexcept {
  const auto* on = rails_.of(id.verbs, id.port_num);
  if (on == nullptr || !on->gid_index) return nullptr;
  const auto& wanted = on->addresses.front();
  boost::asio::ip::tcp::endpoint from;
  from.resize(wanted.is_v6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  std::memcpy(from.data(), &id.route.addr.src_storage, from.size());
  return from.address() == wanted ? nullptr : &wanted;
}

/// To RTR and RTS. librdmacm's attributes, but for those that decide how soon a dead peer is noticed, how a receiver
/// that is late is waited for, and the marks of the lane.
result<void> connector::make_ready(endpoint& of, rdma_cm_id& id, lane on, const rdma_conn_param& terms) {
  const auto failed = [&of](const char* what, int code) {
    return error(errc::path_failed, fmt::format("rail {}: {}: {}", of.shared->on().name, what, std::strerror(code)));
  };
  const auto mine = terms_of(of);
  ibv_qp_attr attributes{};
  int mask = 0;
  attributes.qp_state = IBV_QPS_RTR;
  if (by_.init_qp_attr(&id, &attributes, &mask) != 0) return failed("rdma_init_qp_attr", errno);
  if (of.peer_address.empty()) of.peer_address = address_of(attributes.ah_attr.grh.dgid).to_string();
  attributes.path_mtu = std::min(attributes.path_mtu, mtu_of(static_cast<std::uint32_t>(limits_.verbs_mtu.value())));
  attributes.min_rnr_timer = static_cast<std::uint8_t>(limits_.verbs_rnr_timer);
  attributes.max_dest_rd_atomic = std::min(mine.responder_resources, terms.initiator_depth);
  // So far it is the one that was dialled with.
  compare_marks(on, attributes.ah_attr.grh.traffic_class, of.peer_address);
  attributes.ah_attr.grh.traffic_class = traffic_class_of(on);
  attributes.ah_attr.sl = static_cast<std::uint8_t>(traffic_class_of(on) >> 5);
  mask |= IBV_QP_MIN_RNR_TIMER | IBV_QP_MAX_DEST_RD_ATOMIC;
  of.gid_index = attributes.ah_attr.grh.sgid_index;
  if (const auto wanted = of.shared->on().gid_index; wanted && *wanted != of.gid_index) {
    return error(errc::unreachable, fmt::format("rail {}: the route leads from GID index {}, and verbs.rails names {}",
                                                of.shared->on().name, of.gid_index, *wanted));
  }
  if (const int code = by_.modify_qp(of.pair.get(), &attributes, mask); code != 0)
    return failed("modify_qp to RTR", code);
  attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  if (by_.init_qp_attr(&id, &attributes, &mask) != 0) return failed("rdma_init_qp_attr", errno);
  attributes.timeout = timeout_exponent(limits_.verbs_ack_timeout);
  attributes.retry_cnt = static_cast<std::uint8_t>(limits_.verbs_retries);
  attributes.rnr_retry = static_cast<std::uint8_t>(limits_.verbs_rnr_retries);
  attributes.max_rd_atomic = std::min(mine.initiator_depth, terms.responder_resources);
  mask |= IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_MAX_QP_RD_ATOMIC;
  if (const int code = by_.modify_qp(of.pair.get(), &attributes, mask); code != 0)
    return failed("modify_qp to RTS", code);
  return {};
}

void connector::accept_here(connection_id id, const greeting& said, rdma_conn_param terms, const queues_on& from,
                            const dialled& ready) {
  auto made = make_endpoint(*id, from);
  result<void> prepared;
  if (made) prepared = make_ready(**made, *id, said.at.carries, terms);
  if (!made || !prepared) {
    if (made) (*made)->shared->release((*made)->send_depth, queues::least_credits);
    by_.reject(id.get(), nullptr, 0);
    return ready(made ? prepared.error() : made.error(), nullptr);
  }
  auto& of = **made;
  of.peer_rail = said.rail;
  of.peer_credits = said.credits;
  of.accepted = true;
  of.answer = said;
  of.answer.rail = static_cast<std::uint8_t>(of.shared->on().index);
  of.answer.credits = queues::least_credits;
  of.id = std::move(id);
  live_[of.id.get()] = {&of, false, {}};
  ready({}, std::move(*made));
}

} // namespace weft::path::verbs
