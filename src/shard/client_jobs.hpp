// The long operations of a shard client: fetch, put, verify, remove. Each lives on the data thread from start() to its
// completion, held by what it waits for.
#pragma once

#include "shard/client.hpp"

#include <map>
#include <optional>

namespace weft::shards {

class fetch_job final : public std::enable_shared_from_this<fetch_job> {
public:
  fetch_job(std::shared_ptr<client_core> client, std::string name, std::vector<fetch_piece> pieces, bool whole,
            const fetch_options& options, handler_of<fetch_result> handler);
  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }
  [[nodiscard]] fabrics::worker& thread() noexcept { return client_->fabric().data(); }
  [[nodiscard]] bool forked() const noexcept { return client_->forked(); }
  void start();
  void cancel() { fail(error(errc::cancelled)); }

private:
  /// The unit that one replica is asked for.
  struct chunk {
    std::uint64_t offset;
    std::uint64_t length;
    std::span<std::byte> to;
    std::shared_ptr<const void> owner;
    std::vector<std::size_t> refused_by; ///< replicas that cannot give it
    error failure;                       ///< the most telling of theirs
  };
  enum class standing : std::uint8_t {
    good,
    slow, ///< a chunk stalled there: it is asked only when no other is left, and then with patience
    lost,
  };
  struct use {
    std::uint64_t bytes = 0; ///< under way from this replica
    standing now = standing::good;
  };

  void known(links::outcome&& ended);
  [[nodiscard]] result<void> cut();
  [[nodiscard]] bool may_give(std::size_t replica, const chunk& wanted) const;
  [[nodiscard]] std::optional<std::size_t> choose(const chunk& wanted) const;
  [[nodiscard]] bool is_last(std::size_t replica, const chunk& wanted) const;
  void dispatch();
  void ask(std::size_t index, std::size_t from);
  void arrived(std::size_t index, std::size_t from, bool patient, links::outcome&& ended);
  void refused(std::size_t index, std::size_t from, bool patient, const links::outcome& ended);
  void fail(const error& why);
  void finish();

  std::shared_ptr<client_core> client_;
  std::string name_;
  std::vector<fetch_piece> pieces_;
  bool whole_;
  fetch_options options_;
  fabrics::pending<fetch_result> done_;
  time_point deadline_;
  verify_mode verify_;
  canceller stop_stat_;
  std::vector<chunk> chunks_;
  std::vector<std::size_t> waiting_; ///< chunks to ask for, the next one last
  std::map<std::size_t, canceller> cancellers_;
  std::vector<use> uses_; ///< of each replica
  std::size_t flying_ = 0;
  std::uint64_t flying_bytes_ = 0;
  bool ended_ = false;
  bool completed_ = false;
  error_code code_;
  fetch_result result_;
};

class put_job final : public std::enable_shared_from_this<put_job> {
public:
  put_job(std::shared_ptr<client_core> client, std::string name, region_view from, const put_options& options,
          handler_of<put_result> handler);
  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }
  [[nodiscard]] fabrics::worker& thread() noexcept { return client_->fabric().data(); }
  [[nodiscard]] bool forked() const noexcept { return client_->forked(); }
  void start();
  void cancel() { fail_all(error(errc::cancelled)); }

private:
  /// One replica's copy on its way.
  struct copy {
    std::uint64_t number = 0; ///< names this put on its link
    std::uint64_t next = 0;   ///< the first byte not asked for yet
    std::size_t flying = 0;
    std::uint64_t flying_bytes = 0;
    bool comparing = false; ///< the version is there already: only CRCs go
    bool ended = false;     ///< no more is asked; it is over when nothing flies
    std::map<std::uint64_t, canceller> cancellers;
  };

  void begin(std::size_t to);
  void begun(std::size_t to, links::outcome&& ended);
  void advance(std::size_t to);
  void send_chunk(std::size_t to);
  void send_compare(std::size_t to);
  void commit(std::size_t to);
  void ask(std::size_t to, asking what, std::uint64_t bytes, std::function<void(links::outcome&&)> then);
  void fail_copy(std::size_t to, links::outcome&& ended);
  void end_copy(std::size_t to);
  void fail_all(const error& why);
  void finish_if_over();
  /// The CRCs of blocks [first, first + count), computed when they are needed first.
  [[nodiscard]] std::span<const std::uint32_t> crcs(std::uint64_t first, std::uint64_t count);

  std::shared_ptr<client_core> client_;
  std::string name_;
  region_view from_;
  std::span<std::byte> bytes_;
  put_options options_;
  fabrics::pending<put_result> done_;
  time_point deadline_;
  manifest manifest_; ///< its CRCs as far as computed_ blocks
  std::uint64_t computed_ = 0;
  std::vector<copy> copies_;
  std::uint64_t next_flight_ = 0;
  error failure_; ///< the most telling of the copies'
  bool completed_ = false;
  put_result result_;
};

class verify_job final : public std::enable_shared_from_this<verify_job> {
public:
  verify_job(std::shared_ptr<client_core> client, std::string name, time_point deadline,
             handler_of<verify_result> handler)
      : client_(std::move(client)), name_(std::move(name)), deadline_(deadline),
        done_(std::move(handler), client_->fabric().data()) {}
  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }
  [[nodiscard]] fabrics::worker& thread() noexcept { return client_->fabric().data(); }
  [[nodiscard]] bool forked() const noexcept { return client_->forked(); }
  void start();
  void cancel() {
    if (stop_) stop_();
  }

private:
  void answered(std::size_t of, links::outcome&& ended);

  std::shared_ptr<client_core> client_;
  std::string name_;
  time_point deadline_;
  fabrics::pending<verify_result> done_;
  canceller stop_;
  std::size_t running_ = 0;
  error failure_;
  verify_result result_;
};

class remove_job final : public std::enable_shared_from_this<remove_job> {
public:
  remove_job(std::shared_ptr<client_core> client, std::string name, const remove_options& options,
             handler_of<remove_result> handler)
      : client_(std::move(client)), name_(std::move(name)), version_(options.version.value_or(id128{})),
        deadline_(fabrics::deadline_of(options.deadline, client_->limits())),
        done_(std::move(handler), client_->fabric().data()) {}
  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }
  [[nodiscard]] fabrics::worker& thread() noexcept { return client_->fabric().data(); }
  [[nodiscard]] bool forked() const noexcept { return client_->forked(); }
  void start();
  void cancel() {
    if (stop_) stop_();
  }

private:
  void answered(std::size_t of, links::outcome&& ended);

  std::shared_ptr<client_core> client_;
  std::string name_;
  id128 version_;
  time_point deadline_;
  fabrics::pending<remove_result> done_;
  canceller stop_;
  std::size_t running_ = 0;
  bool removed_ = false; ///< by any replica
  error failure_;        ///< the most telling of the copies'
  remove_result result_;
};

} // namespace weft::shards
