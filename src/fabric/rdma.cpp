#include "fabric/rdma.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace weft::fabrics {

using namespace path::verbs;

result<std::unique_ptr<rdma>> rdma::open(const calls& by, const tunables& limits, const logger& log,
                                         const std::string& thread_names) {
  if (limits.transport == transport_choice::tcp) return std::unique_ptr<rdma>();
  const bool inherited = devices_are_inherited();
  auto rails = std::make_shared<const rail_set>(inherited ? rail_set() : rail_set::find(by, limits.verbs_rails));
  std::string why = inherited ? "this process is the child of one that used RDMA, and cannot" : "";
  if (inherited) log.warning("no RDMA rail is used: {}", why);
  for (const auto& each : rails->unusable()) {
    log.info("rail {} is not used: {}", each.name, each.why);
    why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", each.name, each.why);
  }
  if (rails->rails().empty()) {
    if (limits.transport != transport_choice::verbs) return std::unique_ptr<rdma>();
    return error(errc::no_path, fmt::format("transport=verbs, and no RDMA rail can be used: {}",
                                            why.empty() ? "this host has no RDMA device" : why));
  }
  std::unique_ptr<rdma> opened(new rdma(std::move(rails), limits));
  auto connections = connector::open(by, *opened->rails_, limits, log, thread_names + "-rdma");
  if (!connections) {
    if (limits.transport == transport_choice::verbs) return connections.error();
    log.warning("no RDMA rail is used: {}", connections.error().message());
    return std::unique_ptr<rdma>();
  }
  opened->connections_ = std::move(*connections);
  for (const auto& each : opened->rails_->rails()) {
    log.debug("rail {} can be used", each.name);
    for (const auto& address : each.addresses) opened->offer({static_cast<std::uint8_t>(each.index), {address, 0}});
  }
  return opened;
}

void rdma::listen(connector::asked handler) {
  offered_.clear();
  for (const auto& each : connections_->listen(std::move(handler))) offer(each);
}

void rdma::offer(const listening_rail& each) {
  if (offered_.size() < wire::most_rail_addresses) offered_.push_back(to_wire(each));
}

connector::queues_on rdma::queues_of(worker& thread, lane on) {
  return
      [this, &thread, on](const path::verbs::rail& rail, std::uint32_t sends) { return find(thread, on, rail, sends); };
}

result<std::shared_ptr<queues>> rdma::find(worker& thread, lane on, const path::verbs::rail& rail,
                                           std::uint32_t sends) {
  const std::lock_guard lock(mutex_);
  auto& known = queues_[{&thread, on, rail.index}];
  std::erase_if(known, [&thread](const auto& each) {
    if (each->broken()) thread.run([&thread, each] { thread.remove(*each); });
    return each->broken();
  });
  for (const auto& each : known) {
    if (each->reserve(sends)) return each;
  }
  auto made = queues::open(rail, thread.executor(), limits_);
  if (!made) return made.error();
  if (!(*made)->reserve(sends)) {
    return error(errc::limit_exceeded,
                 fmt::format("rail {}: its queues have no room for one queue pair (verbs.send_depth {}, "
                             "verbs.receive_slots {})",
                             rail.name, sends, limits_.verbs_receive_slots));
  }
  known.push_back(*made);
  thread.run([&thread, added = *made] { thread.add(added); });
  return *made;
}

void rdma::stop() {
  connections_->stop();
  const std::lock_guard lock(mutex_);
  queues_.clear();
}

wire::rail_address to_wire(const listening_rail& from) {
  wire::rail_address to{.rail = from.rail, .v6 = from.at.address().is_v6(), .address = {}, .port = from.at.port()};
  const auto copy = [&to](const auto& bytes) { std::memcpy(to.address.data(), bytes.data(), bytes.size()); };
  to.v6 ? copy(from.at.address().to_v6().to_bytes()) : copy(from.at.address().to_v4().to_bytes());
  return to;
}

listening_rail from_wire(const wire::rail_address& from) {
  namespace ip = boost::asio::ip;
  ip::address address;
  if (from.v6) {
    ip::address_v6::bytes_type bytes;
    std::memcpy(bytes.data(), from.address.data(), bytes.size());
    address = ip::address_v6(bytes);
  } else {
    ip::address_v4::bytes_type bytes;
    std::memcpy(bytes.data(), from.address.data(), bytes.size());
    address = ip::address_v4(bytes);
  }
  return {from.rail, {address, from.port}};
}

} // namespace weft::fabrics
