// The one object behind a fabric's handles: its threads, listener, links and services.
#pragma once

#include "base/fork_mark.hpp"
#include "base/log.hpp"
#include "base/tunables.hpp"
#include "fabric/host_page.hpp"
#include "fabric/publications.hpp"
#include "fabric/rdma.hpp"
#include "fabric/service.hpp"
#include "fabric/shared_slot.hpp"
#include "fabric/user_service.hpp"
#include "fabric/worker.hpp"
#include "lane/token_bucket.hpp"
#include "memory/registration.hpp"

#include "weft/config.hpp"
#include "weft/link.hpp"
#include "weft/metrics.hpp"

#include <boost/asio/any_completion_executor.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace weft::fabrics {

class link_core;

class fabric_core final : public std::enable_shared_from_this<fabric_core> {
public:
  /// Starts threads and listener.
  [[nodiscard]] static result<std::shared_ptr<fabric_core>> start(const config& settings);
  explicit fabric_core(const config& settings);
  ~fabric_core();

  /// As the fabric was opened with. What lanes may have is as set() left it.
  [[nodiscard]] const tunables& limits() const noexcept { return limits_; }
  [[nodiscard]] const logger& log() const noexcept { return log_; }
  /// The first data thread: it accepts, and shard clients live on it.
  [[nodiscard]] worker& data() noexcept { return *data_.front(); }
  /// The data thread of a link: which one follows from its session.
  [[nodiscard]] worker& data_of(const id128& session) noexcept { return *data_[session.low % data_.size()]; }
  [[nodiscard]] worker& realtime() noexcept { return realtime_; }
  [[nodiscard]] worker& worker_of(lane on) noexcept { return on == lane::realtime ? realtime_ : data(); }
  [[nodiscard]] class rails& rails() noexcept { return rails_; }
  /// Null without a rail that has an RDMA device.
  [[nodiscard]] class rdma* rdma() noexcept { return rdma_.get(); }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::string& address() const noexcept { return address_; }
  /// Whether this process is a child of the one that opened the fabric: then nothing here may be touched.
  [[nodiscard]] bool forked() const noexcept { return mark_.forked(); }
  /// Whether new work is refused.
  [[nodiscard]] bool closing() const noexcept { return closing_; }
  [[nodiscard]] publications& published() noexcept { return publications_; }
  [[nodiscard]] user_service& users() noexcept { return users_; }

  // Memory, from any thread.
  /// Makes `bytes` known to every rail, or to none. `release` frees them with the last owner, after the rails let go.
  [[nodiscard]] result<std::shared_ptr<const registration>> register_memory(std::span<std::byte> bytes,
                                                                            std::function<void()> release = nullptr);
  /// New memory, zeroed, registered.
  [[nodiscard]] result<std::shared_ptr<const registration>> allocate(std::uint64_t bytes);
  /// Success, or invalid_argument: the rails of this fabric do not know the memory.
  [[nodiscard]] error check_memory(const region_view& part) const;

  // From any thread.
  using connected = std::function<void(const error& failure, std::shared_ptr<link_core>)>;
  /// `done` is called on a data thread. The returned function gives up, if it is not over.
  std::function<void()> connect(std::string address, duration limit, connected done);
  /// The service for operations of a number; null ends it.
  void serve(service_id id, std::shared_ptr<service> with);
  /// Waits up to `patience` for the operations, ends all links, then calls `done` on the first data thread.
  void close(duration patience, std::function<void()> done);
  [[nodiscard]] metrics snapshot() const;
  /// All of these settings, or none. Errors: invalid_config.
  [[nodiscard]] result<void> set(const std::vector<std::pair<std::string, std::string>>& values);
  [[nodiscard]] result<std::string> get(std::string_view name) const;
  /// Where an operation goes that asks for a lane: realtime beyond its limit goes over standard. From any thread.
  [[nodiscard]] lane lane_for(lane asked, std::uint64_t bytes) noexcept;
  /// Of a link that is gone.
  void keep_counters(const link_core& of);

  /// A peer's name belongs to one live process: `told` hears success, or name_in_use when another one showed in time
  /// that it lives; the links of one that did not end with peer_restarted. From any thread, and `told` on any.
  void claim_name(const std::shared_ptr<link_core>& link, std::function<void(errc refusal)> told);

  // From a link.
  void link_broken() noexcept { ++broken_links_; }
  void fell_back_to_tcp() noexcept { ++tcp_fallbacks_; }
  void operation_arrived(std::shared_ptr<link_side> side, const links::incoming& begun);
  void link_ended(const link_core& link);
  /// Keeps close() from being over, as long as it is held: for a link that has ended and is not fenced yet.
  [[nodiscard]] std::shared_ptr<void> hold_close() const;

  /// Closes at once and joins the threads. Not from one of them.
  void shut_down();

private:
  [[nodiscard]] result<void> listen(const std::string& at);
  [[nodiscard]] result<void> open_rails(const std::string& thread_names, bool listens);
  void refused(const std::string& what);
  /// Tells the peer, the log and the counter. Not with mutex_ held: a log's sink may ask the fabric.
  void refuse(boost::asio::ip::tcp::socket socket, errc why, std::string_view what);
  void queue_pair_asked(std::shared_ptr<path::verbs::connector::request> request);
  void accept_next();
  void greeted(const error& failure, boost::asio::ip::tcp::socket socket, const wire::frame_header& header,
               std::span<const std::byte> body);
  void admit(boost::asio::ip::tcp::socket socket, const std::shared_ptr<link_core>& link, const wire::hello& peer,
             errc refusal);
  void session_greeted(boost::asio::ip::tcp::socket socket, std::span<const std::byte> body);
  void channel_greeted(boost::asio::ip::tcp::socket socket, std::span<const std::byte> body);
  [[nodiscard]] wire::hello greeting() const;
  /// False: the fabric is closing.
  [[nodiscard]] bool add_dialled(const std::shared_ptr<link_core>& link);
  [[nodiscard]] std::vector<std::shared_ptr<link_core>> links() const;
  [[nodiscard]] bool busy() const;
  static void probe_incumbents(const std::vector<std::shared_ptr<link_core>>& incumbents,
                               std::function<void(bool lives)> told);
  void go_round(std::size_t next, std::function<void()> done);
  void wait_to_close(std::shared_ptr<boost::asio::steady_timer> timer, time_point until, std::function<void()> done);
  void limit_realtime();
  void rail_found(const rail& found);
  void close_links(std::function<void()> done);
  void all_fenced();

  const fork_mark mark_;
  const tunables limits_;
  mutable std::mutex settings_mutex_;
  tunables live_; ///< what set() left; under that mutex
  logger log_;
  std::string name_;
  const id128 incarnation_;
  std::string address_;
  host_page host_;
  fabrics::rails rails_;
  lanes::token_bucket realtime_bucket_;
  std::atomic<std::uint64_t> realtime_limit_; ///< of it, bytes per second
  std::atomic<std::uint64_t> demoted_ = 0;    ///< operations that it sent to the standard lane
  std::atomic<std::uint64_t> refused_ = 0;
  std::atomic<std::uint64_t> broken_links_ = 0;
  std::atomic<std::uint64_t> tcp_fallbacks_ = 0;
  worker realtime_;
  std::vector<std::unique_ptr<worker>> data_;
  std::unique_ptr<fabrics::rdma> rdma_;
  boost::asio::ip::tcp::acceptor acceptor_; ///< on the first data thread
  std::uint32_t greeting_ = 0; ///< accepted connections that have not said who they are, or may not be that yet
  boost::asio::steady_timer accept_pause_;
  mutable std::mutex mutex_; ///< guards the links, their names and ended_: never held while calling out
  // Links by session, one map for each end: a fabric that links with itself holds both.
  std::unordered_map<id128, std::shared_ptr<link_core>> dialled_;
  std::unordered_map<id128, std::shared_ptr<link_core>> accepted_;
  /// The process that a peer's name belongs to, with its links.
  struct claim {
    id128 incarnation;
    std::vector<std::weak_ptr<link_core>> links;
  };
  std::unordered_map<std::string, claim> names_;
  std::shared_ptr<void> unfenced_; ///< held by every registered link until it is fenced; its end is all_fenced()
  std::vector<std::function<void()>> on_fenced_;
  bool all_fenced_ = false;
  metrics ended_;                     ///< counts of links that are gone
  std::atomic<bool> closing_ = false; ///< set under mutex_
  user_service users_;
  publications publications_{users_};
  shared_slot<service> shards_;
  std::mutex shut_down_mutex_;
  bool down_ = false;
};

} // namespace weft::fabrics
