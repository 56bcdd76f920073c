// A client of a shard server without a shard client's care: says the service's commands as a test has them, in any
// order and several at once. Used on the test's thread.
#pragma once

#include "support.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/service.hpp"
#include "fabric/submit.hpp"
#include "shard/protocol.hpp"

#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace weft::tests {

class shard_stranger {
public:
  explicit shard_stranger(const std::string& address, const settings& mine = {}) : fabric_(configured(mine)) {
    std::promise<std::shared_ptr<fabrics::link_core>> linked;
    fabric_.core()->connect(address, 10s, [&](const error&, auto link) { linked.set_value(std::move(link)); });
    link_ = soon(linked.get_future());
    if (!link_) throw std::runtime_error("no link to " + address);
  }

  struct saying {
    shards::command what;
    region_view bytes = {}; ///< of a chunk
    std::chrono::nanoseconds deadline = patience;
  };

  /// Sends all of them in one go, on the bulk lane.
  std::vector<std::future<links::outcome>> say(std::vector<saying> all) {
    std::vector<std::future<links::outcome>> answers;
    std::vector<std::unique_ptr<links::completion>> owners;
    for (std::size_t i = 0; i < all.size(); ++i) {
      auto told = std::make_shared<std::promise<links::outcome>>();
      answers.push_back(told->get_future());
      owners.push_back(fabrics::on_end([told](links::outcome&& ended) { told->set_value(std::move(ended)); }));
    }
    link_->side_of(lane::bulk).run([link = link_, all = std::move(all), owners = std::move(owners)](auto&) mutable {
      for (std::size_t i = 0; i < all.size(); ++i) submit(link, all[i], std::move(owners[i]));
    });
    return answers;
  }
  links::outcome ask(const saying& one) { return soon(std::move(say({one}).front())); }

  region filled(std::size_t size, std::uint64_t seed) {
    auto made = fabric_.allocate(byte_count{size}).value();
    fill(made.bytes(), seed);
    return made;
  }

private:
  static void submit(const std::shared_ptr<fabrics::link_core>& link, const saying& one,
                     std::unique_ptr<links::completion> owner) {
    const auto payload = shards::encode(one.what);
    links::operation_request asked{.kind = wire::operation_kind::request,
                                   .service = static_cast<std::uint16_t>(fabrics::service_id::shards),
                                   .carries = lane::bulk,
                                   .payload = payload,
                                   .deadline = deadline_after(clock::now(), one.deadline)};
    if (one.what.what == shards::verb::put_chunk) {
      asked.kind = wire::operation_kind::write;
      asked.pieces = memory::piece_list(one.bytes.bytes(), one.bytes.owner);
    }
    fabrics::submit(link, std::move(asked), std::move(owner), nullptr);
  }

  fabric fabric_;
  std::shared_ptr<fabrics::link_core> link_;
};

} // namespace weft::tests
