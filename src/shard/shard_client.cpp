// The public handle: each operation moves to the data thread and becomes a job there.
#include "weft/shard_client.hpp"

#include "fabric/forked.hpp"
#include "shard/client_jobs.hpp"
#include "shard/name.hpp"

namespace weft {
namespace {

using namespace shards;

/// Starts the job on the data thread, and lets its handler's slot, if there is one, cancel it there. The slot first:
/// once the job has ended, it may be gone.
template <class Job>
void start_there(const std::shared_ptr<Job>& job) {
  if (auto slot = job->slot(); slot.is_connected()) {
    slot.assign([weak = std::weak_ptr(job)](boost::asio::cancellation_type) {
      const auto live = weak.lock();
      if (live && !live->forked()) live->thread().run([live] { live->cancel(); });
    });
  }
  job->thread().run([job] { job->start(); });
}

/// One question that any replica can answer.
template <class Result>
class query final : public job<Result>, public std::enable_shared_from_this<query<Result>> {
public:
  using decoder = std::function<result<Result>(std::span<const std::byte>)>;

  query(std::shared_ptr<client_core> client, command what, decoder decode, handler_of<Result> handler)
      : job<Result>(std::move(client), {}, std::move(handler)), what_(std::move(what)), decode_(std::move(decode)) {}

  void start() {
    const asking what{.what = what_, .deadline = this->deadline_};
    stop_ = this->client_->ask_any(what, [self = this->shared_from_this()](links::outcome&& ended) {
      if (ended.code) return self->done_(ended.code, {});
      auto found = self->decode_(ended.payload);
      if (!found) return self->done_(found.error().code(), {});
      self->done_({}, std::move(*found));
    });
  }
  void cancel() { stop_(); }

private:
  command what_;
  decoder decode_;
  canceller stop_;
};

} // namespace

shard_client::shard_client(fabric& on, std::vector<std::string> replicas)
    : core_(new client_core(on.core(), std::move(replicas)), delete_unless_forked()) {}

/// Answers what cannot begin: in a child of the process, or for a name that no shard can have.
template <class Result>
bool shard_client::refused(std::string_view name, handler_of<Result>& handler) {
  if (core_->forked()) {
    fabrics::answer_forked(std::move(handler));
    return true;
  }
  const auto valid = check_shard_name(name);
  if (valid) return false;
  Result none;
  if constexpr (requires { none.where; }) none.where = valid.error().where();
  fabrics::pending<Result>(std::move(handler), core_->fabric().data()).later(valid.error().code(), std::move(none));
  return true;
}

void shard_client::start_stat(std::string name, handler_of<shard_info> handler) {
  if (refused(name, handler)) return;
  command what{.what = verb::stat, .name = name};
  start_there(std::make_shared<query<shard_info>>(
      core_, std::move(what),
      [name = std::move(name)](std::span<const std::byte> payload) -> result<shard_info> {
        const auto found = decode_answer(payload);
        if (!found) return found.error();
        return shard_info{name, found->version, found->size};
      },
      std::move(handler)));
}

void shard_client::start_list(std::string prefix, std::string after, std::uint32_t limit,
                              handler_of<shard_page> handler) {
  if (core_->forked()) return fabrics::answer_forked(std::move(handler));
  if (prefix.size() > longest_shard_name || after.size() > longest_shard_name) {
    fabrics::pending<shard_page> done(std::move(handler), core_->fabric().data());
    return done.later(errc::invalid_name, {});
  }
  command what{.what = verb::list, .name = std::move(prefix), .after = std::move(after), .number = limit};
  start_there(std::make_shared<query<shard_page>>(core_, std::move(what), decode_page, std::move(handler)));
}

void shard_client::start_fetch(std::string name, std::vector<fetch_piece> pieces, bool whole, fetch_options options,
                               handler_of<fetch_result> handler) {
  if (refused(name, handler)) return;
  start_there(
      std::make_shared<fetch_job>(core_, std::move(name), std::move(pieces), whole, options, std::move(handler)));
}

void shard_client::start_put(std::string name, region_view from, put_options options, handler_of<put_result> handler) {
  if (refused(name, handler)) return;
  start_there(std::make_shared<put_job>(core_, std::move(name), std::move(from), options, std::move(handler)));
}

void shard_client::start_verify(std::string name, std::optional<std::chrono::nanoseconds> deadline,
                                handler_of<verify_result> handler) {
  if (refused(name, handler)) return;
  start_there(std::make_shared<verify_job>(core_, std::move(name), deadline, std::move(handler)));
}

void shard_client::start_remove(std::string name, remove_options options, handler_of<remove_result> handler) {
  if (refused(name, handler)) return;
  if (options.version == id128{}) { // on the wire it would stand for any
    fabrics::pending<remove_result> done(std::move(handler), core_->fabric().data());
    return done.later(errc::invalid_argument, {.copies = {}, .where = "a version of zero is none"});
  }
  start_there(std::make_shared<remove_job>(core_, std::move(name), options, std::move(handler)));
}

} // namespace weft
