#include "fabric/service.hpp"

#include "fabric/link_core.hpp"

namespace weft::fabrics {

const std::string& call::peer() const {
  return side_->core().peer();
}

bool call::forked() const {
  return side_->core().forked();
}

std::shared_ptr<const link_core> call::link() const {
  return side_->core().shared_from_this();
}

void call::accept(memory::piece_list pieces, std::unique_ptr<links::completion> owner) const {
  side_->run([id = id_, pieces = std::move(pieces), owner = std::move(owner)](links::engine& engine) mutable {
    engine.accept_write(id, std::move(pieces), std::move(owner));
  });
}

void call::supply(memory::piece_list pieces, std::vector<std::uint32_t> crcs,
                  std::unique_ptr<links::completion> owner) const {
  side_->run([id = id_, pieces = std::move(pieces), crcs = std::move(crcs),
              owner = std::move(owner)](links::engine& engine) mutable {
    engine.supply_read(id, std::move(pieces), std::move(crcs), std::move(owner));
  });
}

void call::succeed(std::span<const std::byte> payload) const {
  if (side_->on().here()) {
    return side_->run([&](links::engine& engine) { engine.respond(id_, {}, {}, payload); });
  }
  side_->run([id = id_, copy = std::vector<std::byte>(payload.begin(), payload.end())](links::engine& engine) {
    engine.respond(id, {}, {}, copy);
  });
}

void call::fail(const error& why) const {
  side_->run([id = id_, why](links::engine& engine) { engine.respond(id, why.code(), why.where(), {}); });
}

} // namespace weft::fabrics
