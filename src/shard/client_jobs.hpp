// The long operations of a shard client: fetch, put, verify, remove. Each lives on the data thread from start() to its
// completion, held by what it waits for.
#pragma once

#include "shard/client.hpp"

#include <algorithm>
#include <map>
#include <optional>

namespace weft::shards {

/// What every job has: its client, its deadline, and the handler of who waits for it.
template <class Result>
class job {
public:
  job(const job&) = delete;
  job& operator=(const job&) = delete;
  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }
  [[nodiscard]] fabrics::worker& thread() noexcept { return client_->fabric().data(); }
  [[nodiscard]] bool forked() const noexcept { return client_->forked(); }

protected:
  job(std::shared_ptr<client_core> client, std::optional<std::chrono::nanoseconds> deadline, handler_of<Result> handler)
      : client_(std::move(client)), deadline_(fabrics::deadline_of(deadline, client_->limits())),
        done_(std::move(handler), client_->fabric().data()) {}
  ~job() = default;

  std::shared_ptr<client_core> client_;
  time_point deadline_;
  fabrics::pending<Result> done_;
};

class fetch_job final : public job<fetch_result>, public std::enable_shared_from_this<fetch_job> {
public:
  fetch_job(std::shared_ptr<client_core> client, std::string name, std::vector<fetch_piece> pieces, bool whole,
            const fetch_options& options, handler_of<fetch_result> handler);
  void start();
  void cancel() { fail(error(errc::cancelled)); }

private:
  /// The unit that one replica is asked for.
  struct chunk {
    std::uint64_t offset;
    std::uint64_t length;
    std::span<std::byte> to;
    std::shared_ptr<const registration> owner;
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

  std::string name_;
  std::vector<fetch_piece> pieces_;
  bool whole_;
  fetch_options options_;
  verify_mode verify_;
  canceller stop_stat_;
  std::vector<chunk> chunks_;
  std::vector<std::size_t> waiting_; ///< chunks to ask for, the next one last
  std::map<std::size_t, canceller> cancellers_;
  std::vector<use> uses_; ///< of each replica
  std::size_t flying_ = 0;
  std::uint64_t flying_bytes_ = 0;
  bool ended_ = false;
  error_code code_;
  fetch_result result_;
};

class put_job final : public job<put_result>, public std::enable_shared_from_this<put_job> {
public:
  put_job(std::shared_ptr<client_core> client, std::string name, region_view from, const put_options& options,
          handler_of<put_result> handler);
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

  std::string name_;
  region_view from_;
  std::span<std::byte> bytes_;
  put_options options_;
  manifest manifest_; ///< its CRCs as far as computed_ blocks
  std::uint64_t computed_ = 0;
  std::vector<copy> copies_;
  std::uint64_t next_flight_ = 0;
  error failure_; ///< the most telling of the copies'
  bool completed_ = false;
  put_result result_;
};

/// A question that every replica answers for itself. `Result` has a list of `copies`, each with address, code and
/// where.
template <class Result>
class survey : public job<Result>, public std::enable_shared_from_this<survey<Result>> {
public:
  using copy = typename decltype(Result::copies)::value_type;

  using job<Result>::job;
  virtual ~survey() = default;

  void start() {
    running_ = this->client_->replicas().size();
    for (const auto& each : this->client_->replicas()) result_.copies.push_back({.address = each.address});
    if (running_ == 0) return this->done_.later(errc::invalid_argument, std::move(result_));
    stop_ = this->client_->ask_all({.what = question(), .deadline = this->deadline_},
                                   [self = this->shared_from_this()](std::size_t of, links::outcome&& ended) {
                                     self->answered(of, std::move(ended));
                                   });
  }
  void cancel() {
    if (stop_) stop_();
  }

protected:
  [[nodiscard]] virtual command question() const = 0;
  /// A replica's success, to be read into its copy; what is wrong with it goes into the copy's code and where.
  virtual void succeeded(copy& of, Result& all, std::span<const std::byte> payload) = 0;
  /// Whether a copy with this code is a failure of the whole.
  [[nodiscard]] virtual bool counts(errc) const { return true; }
  /// All have answered, and none failed: the error of the whole, if there is one after all.
  [[nodiscard]] virtual errc conclude(const Result&) const { return {}; }

private:
  void answered(std::size_t of, links::outcome&& ended) {
    auto& told = result_.copies[of];
    told.code = ended.code;
    told.where = std::move(ended.where);
    if (!told.code) succeeded(told, result_, ended.payload);
    const auto code = told.code ? to_errc(told.code) : errc{};
    if (code != errc{} && counts(code)) keep_more_telling(failure_, code, told.address, told.where);
    if (--running_ > 0) return;
    if (failure_.code() == errc{}) failure_ = conclude(result_);
    result_.where = failure_.where();
    this->done_(failure_.code() == errc{} ? error_code{} : error_code(failure_.code()), std::move(result_));
  }

  canceller stop_;
  std::size_t running_ = 0;
  error failure_; ///< the most telling of the copies'
  Result result_;
};

/// Every replica reads its copy and says which blocks are bad.
class verify_job final : public survey<verify_result> {
public:
  verify_job(std::shared_ptr<client_core> client, std::string name, std::optional<std::chrono::nanoseconds> deadline,
             handler_of<verify_result> handler)
      : survey(std::move(client), deadline, std::move(handler)), name_(std::move(name)) {}

private:
  [[nodiscard]] command question() const override { return {.what = verb::verify, .name = name_}; }
  void succeeded(verify_copy& of, verify_result& all, std::span<const std::byte> payload) override;

  std::string name_;
};

/// Every replica drops its copy. One that has none is no failure, as long as another one had it.
class remove_job final : public survey<remove_result> {
public:
  remove_job(std::shared_ptr<client_core> client, std::string name, const remove_options& options,
             handler_of<remove_result> handler)
      : survey(std::move(client), options.deadline, std::move(handler)), name_(std::move(name)),
        version_(options.version.value_or(id128{})) {}

private:
  [[nodiscard]] command question() const override { return {.what = verb::remove, .name = name_, .version = version_}; }
  void succeeded(remove_copy& of, remove_result&, std::span<const std::byte>) override { of.removed = true; }
  [[nodiscard]] bool counts(errc code) const override { return code != errc::not_found; }
  [[nodiscard]] errc conclude(const remove_result& all) const override {
    const bool any = std::any_of(all.copies.begin(), all.copies.end(), [](const auto& each) { return each.removed; });
    return any ? errc{} : errc::not_found;
  }

  std::string name_;
  id128 version_;
};

} // namespace weft::shards
