// The asking side of shards: one group of replicas, their links, and the operations over them. Everything here runs on
// the fabric's data thread; each operation is a job that keeps itself alive until it has completed.
#pragma once

#include "fabric/fabric_core.hpp"
#include "fabric/submit.hpp"
#include "shard/protocol.hpp"

#include "weft/shard_client.hpp"

#include <boost/asio/steady_timer.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::shards {

/// One server that holds the shards: connects when it is needed, again after the link was lost.
struct replica {
  std::string address;
  std::shared_ptr<fabrics::link_core> link;
  bool connecting = false;
  std::vector<std::function<void(const error&)>> waiting;
  time_point retry_at{};      ///< after a failed attempt: until then the same failure is the answer
  std::uint32_t failures = 0; ///< attempts in a row
  error failure;
};

/// What a job asks of one replica.
struct asking {
  wire::operation_kind kind = wire::operation_kind::request;
  command what = {};
  lane carries = lane::standard;
  verify_mode verify = verify_mode::slice;
  memory::piece_list pieces = {};
  std::vector<std::uint32_t> slice_crcs = {};
  time_point deadline = {};
  bool by_deadline = false; ///< as operation_request's
  duration stall = duration::max();
};

/// Cancels one asking; nothing when it has ended.
using canceller = std::function<void()>;

class client_core final : public std::enable_shared_from_this<client_core> {
public:
  client_core(std::shared_ptr<fabrics::fabric_core> fabric, std::vector<std::string> addresses);
  /// Closes the links to its replicas.
  ~client_core();

  [[nodiscard]] fabrics::fabric_core& fabric() noexcept { return *fabric_; }
  [[nodiscard]] std::vector<replica>& replicas() noexcept { return replicas_; }
  [[nodiscard]] bool forked() const noexcept { return fabric_->forked(); }
  [[nodiscard]] const tunables& limits() const noexcept { return fabric_->limits(); }

  using answered = std::function<void(links::outcome&&)>;
  /// On the data thread. `then` is called there, once, later; after it the pieces are not touched.
  canceller ask(std::size_t replica, asking what, answered then);
  /// Asks all replicas at once; the first success counts, else the most telling failure.
  canceller ask_any(const asking& what, answered then);
  /// Asks every replica; `each` is called for each end, and the last call has no others running. No replicas: never.
  canceller ask_all(const asking& what, std::function<void(std::size_t replica, links::outcome&&)> each);
  /// A name for a put that no other of this client has.
  [[nodiscard]] std::uint64_t next_put() noexcept { return ++last_put_; }

private:
  /// The state of an asking between ask() and its end.
  struct flight {
    explicit flight(boost::asio::io_context& context) : patience(context) {}

    answered then; ///< until there is a link, whose engine then keeps the deadline
    bool cancelled = false;
    boost::asio::steady_timer patience;
    std::shared_ptr<fabrics::link_core> link;
    lane on{};
    std::shared_ptr<links::operation_id> id;
  };

  [[nodiscard]] bool has_link(std::size_t replica) const noexcept;
  void with_link(std::size_t replica, std::function<void(const error&)> then);
  void connected(std::size_t replica, const error& failure, std::shared_ptr<fabrics::link_core> link);
  void limit_patience(const std::shared_ptr<flight>& state, const asking& asked);
  void give_up(const std::shared_ptr<flight>& state, links::outcome&& why);
  void send(std::size_t replica, asking what, answered then, const std::shared_ptr<flight>& state);

  std::shared_ptr<fabrics::fabric_core> fabric_;
  std::vector<replica> replicas_;
  std::uint64_t last_put_ = 0;
};

/// Of two failures keeps the one that tells more of the shard and less of the way to it, with its address.
void keep_more_telling(error& worst, errc code, std::string_view address, std::string_view where);

} // namespace weft::shards
