// The RDMA side of a fabric: its rails, the thread that sets up queue pairs, and the queues that each lane of each
// worker has on each rail, made when first needed. Owned by the fabric; any thread may use it.
#pragma once

#include "fabric/worker.hpp"
#include "path/verbs/connect.hpp"
#include "wire/bodies.hpp"

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

namespace weft::fabrics {

class rdma {
public:
  /// Null: this host has no rail that can be used, or the settings want none; why is logged. Errors: no_path when the
  /// settings want nothing else, os_failure.
  static result<std::unique_ptr<rdma>> open(const path::verbs::calls& by, const tunables& limits, const logger& log,
                                            const std::string& thread_names);

  /// Listens on all rails, from now on and until stop(): where this process takes links.
  void listen(path::verbs::connector::asked handler);
  /// For the hello: the addresses of its rails, and where it takes queue pairs there; port 0: nowhere, it only dials.
  [[nodiscard]] const std::vector<wire::rail_address>& offered() const noexcept { return offered_; }

  [[nodiscard]] const std::shared_ptr<const path::verbs::rail_set>& rails() const noexcept { return rails_; }
  [[nodiscard]] const std::shared_ptr<path::verbs::connector>& connections() const noexcept { return connections_; }
  [[nodiscard]] path::verbs::connector::queues_on queues_of(worker& thread, lane on);

  /// Behind the last channel's end.
  void stop();

private:
  rdma(std::shared_ptr<const path::verbs::rail_set> rails, const tunables& limits)
      : rails_(std::move(rails)), limits_(limits) {}
  void offer(const path::verbs::listening_rail& each);
  /// With room for another queue pair: the first that have it, or new ones.
  [[nodiscard]] result<std::shared_ptr<path::verbs::queues>> find(worker& thread, lane on,
                                                                  const path::verbs::rail& rail, std::uint32_t sends);

  std::shared_ptr<const path::verbs::rail_set> rails_;
  const tunables& limits_;
  std::shared_ptr<path::verbs::connector> connections_;
  std::vector<wire::rail_address> offered_;
  std::mutex mutex_;
  std::map<std::tuple<worker*, lane, std::size_t>, std::vector<std::shared_ptr<path::verbs::queues>>> queues_;
};

/// An address in a hello, and back.
[[nodiscard]] wire::rail_address to_wire(const path::verbs::listening_rail& from);
[[nodiscard]] path::verbs::listening_rail from_wire(const wire::rail_address& from);

} // namespace weft::fabrics
