// Setting up queue pairs: listening, dialling and accepting through librdmacm, on a thread of its own, so that neither
// its calls nor a peer that does not answer hold up a data thread. The fabric owns the connector.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "base/tunables.hpp"
#include "path/verbs/channel.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <bitset>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <unordered_map>

namespace weft::path::verbs {

/// librdmacm's private data of a connection: at most so much of it is the user's.
inline constexpr std::size_t private_data_size = 56;
using private_data = std::array<std::byte, private_data_size>;

[[nodiscard]] private_data encode(const greeting& said);
/// Errors: not_weft, version_mismatch, protocol_error.
[[nodiscard]] result<greeting> decode_greeting(std::span<const std::byte> data);

/// Where a rail of the peer listens.
struct listening_rail {
  std::uint8_t rail = 0;
  boost::asio::ip::tcp::endpoint at;
};

class connector final : public std::enable_shared_from_this<connector> {
public:
  /// Queues of a lane's thread on a rail, with room reserved for a queue pair that has so many requests; called on the
  /// connector's thread.
  using queues_on = std::function<result<std::shared_ptr<queues>>(const rail& on, std::uint32_t sends)>;
  using dialled = std::function<void(const error& failure, std::unique_ptr<endpoint> connected)>;

  /// A peer that asks for a connection. Answered with exactly one of accept and refuse, from any thread; dropped, it is
  /// refused.
  class request {
  public:
    request(std::shared_ptr<connector> of, connection_id id, greeting said, rdma_conn_param terms);
    ~request();
    [[nodiscard]] const greeting& said() const noexcept { return said_; }
    /// `ready` gets the queue pair, on the connector's thread; confirm() then lets the peer use it.
    void accept(queues_on from, dialled ready);
    void refuse();

  private:
    std::shared_ptr<connector> of_;
    connection_id id_;
    greeting said_;
    rdma_conn_param terms_;
  };
  using asked = std::function<void(std::shared_ptr<request>)>;

  /// Starts the thread. `rails` must outlive it. Errors: os_failure.
  static result<std::shared_ptr<connector>> open(const calls& by, const rail_set& rails, const tunables& limits,
                                                 const logger& log, const std::string& thread_name);
  ~connector();

  /// Listens on every rail; `handler` hears on the connector's thread. What cannot be listened on is logged.
  [[nodiscard]] std::vector<listening_rail> listen(asked handler);

  /// Connects to `to`. `done` is called once, on the connector's thread, at the latest `limit` after its turn has come:
  /// verbs.connects_max go on at once, and one that takes long makes room. An endpoint is not in use before confirm().
  /// From any thread.
  void dial(const listening_rail& to, greeting said, duration limit, queues_on from, dialled done);
  /// The channel is attached: the peer may use the connection. Its events follow.
  void confirm(endpoint& attached);
  /// As channel::disposer, for a channel on `thread`.
  void dispose(std::unique_ptr<endpoint> used, boost::asio::any_io_executor thread, std::function<void()> done);

  /// How many that asked for a queue pair were no peers, from any thread.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

  /// Ends the thread: no event follows, nor a call of `done` or `ready`; what was to be handled is destroyed, here or
  /// by whoever asks for it later. Not from the thread itself.
  void stop();

private:
  struct attempt;

  connector(const calls& by, const rail_set& rails, const tunables& limits, const logger& log);
  [[nodiscard]] result<void> create(const std::string& thread_name);
  /// Runs `work` on the connector's thread. From any thread; once that has ended the work is destroyed instead.
  template <class Work>
  void post(Work&& work) {
    ++posting_;
    if (!joined_) boost::asio::post(context_, std::forward<Work>(work));
    --posting_;
  }
  void wait_for_events();
  void wait_for_device(std::size_t index);
  void pass_on(const ibv_context* device, const ibv_async_event& event);
  template <class Meant>
  static void fail_queues(const std::string& why, const Meant& meant);
  template <class Work>
  static void on_all(const Work& work);
  struct arrival;
  void handle(arrival&& event);
  void requested(arrival&& event);
  void admit();
  void begin(const std::shared_ptr<attempt>& of, const boost::asio::ip::address* source = nullptr);
  void next_step(const std::shared_ptr<attempt>& of, const arrival& event);
  void finish(const std::shared_ptr<attempt>& of, const error& failure);
  void accept_here(connection_id id, const greeting& said, rdma_conn_param terms, const queues_on& from,
                   const dialled& ready);
  [[nodiscard]] const boost::asio::ip::address* named_source(const rdma_cm_id& id) const noexcept;
  /// A queue pair in INIT for the route that `id` has found.
  [[nodiscard]] result<std::unique_ptr<endpoint>> make_endpoint(rdma_cm_id& id, const queues_on& from);
  [[nodiscard]] result<void> make_ready(endpoint& of, rdma_cm_id& id, lane on, const rdma_conn_param& terms);
  [[nodiscard]] rdma_conn_param terms_of(const endpoint& of) const noexcept;
  [[nodiscard]] std::uint8_t traffic_class_of(lane on) const noexcept;
  void compare_marks(lane on, std::uint8_t theirs, const std::string& peer);
  void tell(endpoint& of, endpoint::event what, const std::string& why);

  const calls& by_;
  const rail_set& rails_;
  const tunables& limits_;
  const logger& log_;
  /// Its pending handlers hold this connector: they must go before the context can.
  struct context_type : boost::asio::io_context {
    using io_context::io_context;
    void drop_handlers() { shutdown(); }
  };
  context_type context_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  event_channel events_;
  boost::asio::posix::stream_descriptor wake_;
  struct device_events {
    ibv_context* context;
    boost::asio::posix::stream_descriptor wake;
  };
  std::vector<device_events> devices_;
  std::vector<connection_id> listeners_;
  std::atomic<std::uint64_t> refused_ = 0;
  std::array<std::bitset<64>, lane_count> strange_marks_; ///< DSCP values of peers that have been told of
  asked on_asked_;
  std::unordered_map<rdma_cm_id*, std::shared_ptr<attempt>> attempts_; ///< that have begun
  std::deque<std::shared_ptr<attempt>> waiting_;                       ///< for their turn to dial
  std::map<boost::asio::ip::address, std::uint32_t> begun_to_;         ///< attempts that have not ended
  std::uint32_t dialling_ = 0;
  struct live {
    endpoint* which;
    bool confirmed = false;
    std::string lost = {}; ///< why it ended before it was confirmed
  };
  void lose(live& of, std::string why);
  std::unordered_map<rdma_cm_id*, live> live_;
  random_source random_;
  std::thread thread_;
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> joined_ = false; ///< the thread has ended
  std::atomic<int> posting_ = 0;     ///< calls of post() that may not know yet that it has
};

} // namespace weft::path::verbs
