// The regions that this process offers to its peers by name, and the service that opens, reads and writes them.
#pragma once

#include "fabric/region_protocol.hpp"
#include "fabric/service.hpp"

#include "weft/region.hpp"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace weft::fabrics {

class user_service;

/// One region under one name. Operations that use it hold it: when the last is fenced after a revocation, whoever
/// revoked it is told.
struct publication {
  ~publication() {
    if (on_gone) on_gone();
  }

  std::uint64_t id = 0;
  std::string name;
  region_view part;
  rights allowed{};
  std::function<void()> on_gone;
  std::mutex mutex;
  bool revoked = false;                                                   ///< under mutex
  std::map<std::pair<const link_side*, links::operation_id>, call> users; ///< under mutex: operations under way
};

class publications final : public service {
public:
  explicit publications(user_service& users) : users_(users) {}

  // From any thread.
  [[nodiscard]] result<void> add(region_view part, std::string_view name, rights allowed);
  /// `done` is called when no peer uses it any more. Errors: not_found, and `done` is not called then.
  [[nodiscard]] result<void> revoke(std::string_view name, std::function<void()> done);

  void arrived(const call& begun, std::span<const std::byte> payload) override;

private:
  [[nodiscard]] std::shared_ptr<publication> find(std::string_view name);
  [[nodiscard]] std::shared_ptr<publication> find(std::uint64_t id);
  void opened(const call& begun, std::string_view name);
  void transferred(const call& begun, const region_access& access);
  void finished(const std::shared_ptr<publication>& used, const call& begun);

  user_service& users_;
  std::mutex mutex_; ///< guards by_id_ and next_id_
  std::unordered_map<std::uint64_t, std::shared_ptr<publication>> by_id_;
  std::uint64_t next_id_ = 1;
};

} // namespace weft::fabrics
