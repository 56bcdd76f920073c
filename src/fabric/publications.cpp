#include "fabric/publications.hpp"

#include "fabric/user_service.hpp"

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

bool permits(rights allowed, rights wanted) noexcept {
  return (static_cast<unsigned>(allowed) & static_cast<unsigned>(wanted)) != 0;
}

/// The memory of the runs inside the published part; an error names the first that lies outside.
result<memory::piece_list> locate(const publication& target, std::span<const run> runs) {
  memory::piece_list pieces;
  const auto bytes = target.part.bytes();
  for (const auto& each : runs) {
    const auto end = each.begin + each.stride * (each.count - 1) + each.length;
    if (end > bytes.size()) {
      return error(errc::out_of_region,
                   fmt::format("bytes up to {} of region '{}', which has {}", end, target.name, bytes.size()));
    }
    for (std::uint64_t i = 0; i < each.count; ++i) {
      pieces.add(bytes.subspan(each.begin + i * each.stride, each.length), target.part.owner.get());
    }
  }
  pieces.keep(target.part.owner);
  return pieces;
}

} // namespace

result<void> publications::add(region_view part, std::string_view name, rights allowed) {
  if (name.empty() || name.size() > longest_region_name) {
    return error(errc::invalid_name, fmt::format("a region's name has 1 to {} bytes", longest_region_name));
  }
  if (!part.owner || (part.length > 0 && part.bytes().empty())) {
    return error(errc::out_of_region, fmt::format("the part to publish as '{}'", name));
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [id, other] : by_id_) {
    if (other->name == name) return error(errc::invalid_argument, fmt::format("'{}' is published already", name));
  }
  auto added = std::make_shared<publication>();
  added->id = next_id_++;
  added->name = name;
  added->part = std::move(part);
  added->allowed = allowed;
  by_id_.emplace(added->id, std::move(added));
  return {};
}

result<void> publications::revoke(std::string_view name, std::function<void()> done) {
  std::shared_ptr<publication> found;
  {
    const std::lock_guard lock(mutex_);
    const auto at =
        std::find_if(by_id_.begin(), by_id_.end(), [name](const auto& each) { return each.second->name == name; });
    if (at == by_id_.end()) return error(errc::not_found, fmt::format("no region is published as '{}'", name));
    found = std::move(at->second);
    by_id_.erase(at);
  }
  std::vector<call> users;
  {
    const std::lock_guard lock(found->mutex);
    found->revoked = true;
    found->on_gone = std::move(done);
    for (const auto& [key, user] : found->users) users.push_back(user);
  }
  for (const auto& user : users) user.fail(error(errc::revoked, found->name));
  return {};
}

std::shared_ptr<publication> publications::find(std::string_view name) {
  const std::lock_guard lock(mutex_);
  for (const auto& [id, candidate] : by_id_) {
    if (candidate->name == name) return candidate;
  }
  return nullptr;
}

std::shared_ptr<publication> publications::find(std::uint64_t id) {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

void publications::arrived(const call& begun, std::span<const std::byte> payload) {
  if (begun.terms().kind == wire::operation_kind::request) {
    const auto name = decode_open(payload);
    return name ? opened(begun, *name) : begun.fail(name.error());
  }
  const auto access = decode_access(payload);
  return access ? transferred(begun, *access) : begun.fail(access.error());
}

void publications::opened(const call& begun, std::string_view name) {
  const auto found = find(name);
  if (!found) return begun.fail(error(errc::not_found, fmt::format("no region '{}'", name)));
  begun.succeed(encode_opened({found->id, found->part.length, found->allowed, {}}));
}

void publications::transferred(const call& begun, const region_access& access) {
  const auto found = find(access.region);
  const bool writes = begun.terms().kind == wire::operation_kind::write;
  if (!found) return begun.fail(error(errc::revoked, "the region is no longer published"));
  if (!permits(found->allowed, writes ? rights::write : rights::read)) {
    return begun.fail(error(errc::permission_denied,
                            fmt::format("region '{}' may not be {}", found->name, writes ? "written" : "read")));
  }
  auto pieces = locate(*found, access.runs);
  if (!pieces) return begun.fail(pieces.error());
  if (pieces->length() != begun.terms().length) {
    return begun.fail(error(errc::length_mismatch, "the pieces and the transfer differ in length"));
  }
  {
    const std::lock_guard lock(found->mutex);
    if (found->revoked) return begun.fail(error(errc::revoked, found->name));
    found->users.emplace(std::pair(begun.side(), begun.id()), begun);
  }
  if (!writes) {
    return begun.supply(std::move(*pieces), {}, on_end([this, found, begun](links::outcome&& ended) {
                          finished(found, begun);
                          if (ended.code) begun.fail(error(to_errc(ended.code), std::move(ended.where)));
                        }));
  }
  begun.accept(std::move(*pieces), on_end([this, found, begun, notify = access.notify](links::outcome&& ended) {
                 finished(found, begun);
                 if (ended.code) return begun.fail(error(to_errc(ended.code), std::move(ended.where)));
                 // All bytes are verified and in place: now the words that come with them.
                 if (!notify.empty()) users_.notify({begun.peer(), found->name, notify});
                 begun.succeed({});
               }));
}

void publications::finished(const std::shared_ptr<publication>& used, const call& begun) {
  const std::lock_guard lock(used->mutex);
  used->users.erase({begun.side(), begun.id()});
}

} // namespace weft::fabrics
