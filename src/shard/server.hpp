// The serving side of shards: answers the operations of the shards service from a file_store. Commands arrive on the
// threads of their lanes; everything that may wait for the disk runs on a small pool.
#pragma once

#include "fabric/fabric_core.hpp"
#include "memory/buffer_pool.hpp"
#include "shard/file_store.hpp"
#include "shard/open_put.hpp"
#include "shard/protocol.hpp"
#include "shard/scrubber.hpp"

#include "weft/shard_server.hpp"

#include <boost/asio/thread_pool.hpp>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

namespace weft::shards {

class server_core final : public fabrics::service, public std::enable_shared_from_this<server_core> {
public:
  /// For what is read from the store, and for what is put there.
  using pool_memory = std::pair<std::shared_ptr<const registration>, std::shared_ptr<const registration>>;

  server_core(std::shared_ptr<fabrics::fabric_core> fabric, std::unique_ptr<system_calls> calls,
              std::unique_ptr<file_store> store, pool_memory pools);

  void arrived(const fabrics::call& begun, std::span<const std::byte> payload) override;
  void link_ended() override;
  [[nodiscard]] shard_server_metrics snapshot() const;
  [[nodiscard]] bool forked() const noexcept { return fabric_->forked(); }
  void scrub(bytes_per_second rate, std::function<void(const stored_fault&)> told);
  /// Ends the service, waits for the disk and closes the store: unfinished puts are gone, and the folder is free for
  /// another server. Operations under way that would need the disk again are answered peer_closed when they get there.
  /// Those that are sending or receiving keep this object until they end, with their pool memory and the descriptors
  /// that are read from, and nothing else of the store.
  void stop();

private:
  /// Runs work(*this) on the pool; behind stop() it fails `begun`.
  template <class Work>
  void on_disk(const fabrics::call& begun, Work&& work);
  /// False: stop() has begun, and nothing is queued.
  template <class Work>
  [[nodiscard]] bool try_queue(Work&& work);
  /// The same for who holds disk_mutex_ and has seen that stopped_ is not set.
  template <class Work>
  void queue(Work&& work);

  // server.cpp
  void stat(const fabrics::call& begun, const command& asked);
  void list(const fabrics::call& begun, const command& asked);
  void verify(const fabrics::call& begun, const command& asked);
  void go_on(const fabrics::call& begun, const std::shared_ptr<verification>& of);
  void verify_next();
  void verification_ended();
  [[nodiscard]] errc given_up(const fabrics::call& begun) const;
  void remove(const fabrics::call& begun, const command& asked);

  // server_read.cpp
  void read(const fabrics::call& begun, const command& asked);
  void read_into(const fabrics::call& begun, const command& asked, std::shared_ptr<memory::buffer_pool::lease> lease);
  void send(const fabrics::call& begun, const std::shared_ptr<open_shard>& shard, const command& asked,
            memory::piece_list pieces, bool whole_blocks);
  void explain_mismatch(const fabrics::call& begun, const std::shared_ptr<open_shard>& shard, std::uint64_t offset);

  // server_put.cpp
  void put_begin(const fabrics::call& begun, const command& asked);
  void open_on_disk(const fabrics::call& begun, const command& asked, const std::shared_ptr<open_put>& opened);
  void put_chunk(const fabrics::call& begun, const command& asked);
  void store_chunk(const fabrics::call& begun, const command& asked, claimed_blocks& blocks,
                   const std::shared_ptr<memory::buffer_pool::lease>& lease);
  void put_compare(const fabrics::call& begun, const command& asked);
  void put_commit(const fabrics::call& begun, const command& asked);
  void put_abandon(const fabrics::call& begun, const command& asked);
  [[nodiscard]] result<void> queue_abandon(const fabrics::call& begun, const command& asked);
  [[nodiscard]] result<std::shared_ptr<claimed_blocks>> claim(const fabrics::call& begun, const command& asked,
                                                              const block_span& blocks) const;
  [[nodiscard]] std::shared_ptr<open_put> take_put(const fabrics::call& begun, const command& asked);
  void drop_lost_puts();

  std::shared_ptr<fabrics::fabric_core> fabric_;
  std::unique_ptr<system_calls> calls_;
  std::unique_ptr<file_store> store_;
  /// What borrows is the side of a link, so that realtime of a peer has a share and a queue of its own and never waits
  /// behind the bulk of the same peer. The price: one that fills both shares has all of a pool until some returns.
  std::shared_ptr<memory::buffer_pool> read_pool_;
  std::shared_ptr<memory::buffer_pool> write_pool_;
  mutable std::mutex puts_mutex_; ///< guards puts_
  /// By link and the client's number.
  std::map<std::pair<const fabrics::link_core*, std::uint64_t>, std::shared_ptr<open_put>> puts_;
  std::mutex disk_mutex_;   ///< held to set stopped_ and to queue, so that nothing is behind the end of disk_; before
                            ///< puts_mutex_
  std::mutex verify_mutex_; ///< guards what follows
  std::uint32_t verifying_ = 0;                                 ///< shards that are open for it
  std::deque<std::pair<fabrics::call, std::string>> to_verify_; ///< wait for one of these to end
  std::atomic<bool> stopped_ = false;
  std::atomic<std::uint64_t> bytes_served_ = 0;
  std::atomic<std::uint64_t> bytes_stored_ = 0;
  std::atomic<std::uint64_t> puts_committed_ = 0;
  std::atomic<std::uint64_t> shards_removed_ = 0;
  std::atomic<std::uint64_t> bad_blocks_ = 0;
  std::unique_ptr<scrubber> scrubber_;
  boost::asio::thread_pool disk_; ///< last: its threads use the rest
};

} // namespace weft::shards

#include <boost/asio/post.hpp>

namespace weft::shards {

/// What the peer is told: of this process's end of the service, as of the end of its fabric.
[[nodiscard]] inline error server_is_closed() {
  return {errc::peer_closed, "its shard server is closed"};
}

template <class Work>
void server_core::on_disk(const fabrics::call& begun, Work&& work) {
  if (!try_queue(std::forward<Work>(work))) begun.fail(server_is_closed());
}

template <class Work>
bool server_core::try_queue(Work&& work) {
  const std::lock_guard lock(disk_mutex_);
  if (!stopped_) queue(std::forward<Work>(work));
  return !stopped_; // the pool has ended then: its queue would keep this object
}

template <class Work>
void server_core::queue(Work&& work) {
  boost::asio::post(disk_, [self = shared_from_this(), work = std::forward<Work>(work)]() mutable { work(*self); });
}

} // namespace weft::shards
