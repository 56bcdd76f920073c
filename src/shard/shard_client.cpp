// The public handle: each operation moves to the data thread and becomes a job there.
#include "weft/shard_client.hpp"

#include "shard/client_jobs.hpp"
#include "shard/name.hpp"

namespace weft {
namespace {

using namespace shards;

/// Runs `begin` on the data thread.
template <class Begin>
void start_there(const std::shared_ptr<client_core>& core, Begin begin) {
  core->fabric().data().run([core, begin = std::move(begin)]() mutable { begin(core); });
}

} // namespace

shard_client::shard_client(fabric& on, std::vector<std::string> replicas)
    : core_(std::make_shared<client_core>(on.core(), std::move(replicas))) {}

void shard_client::start_stat(std::string name, handler_of<shard_info> handler) {
  fabrics::pending<shard_info> done(std::move(handler), core_->fabric().data());
  if (const auto valid = check_shard_name(name); !valid) return done.later(valid.error().code(), {});
  start_there(core_, [name = std::move(name), done = std::move(done)](const auto& core) mutable {
    const asking what{.what = {.what = verb::stat, .name = name, .after = {}, .version = {}, .crcs = {}},
                      .deadline = fabrics::deadline_of({}, core->limits())};
    auto slot = done.slot();
    auto shared = std::make_shared<fabrics::pending<shard_info>>(std::move(done));
    const auto cancel = core->ask_any(what, [shared, name](links::outcome&& ended) {
      if (ended.code) return (*shared)(ended.code, {});
      const auto found = decode_answer(ended.payload);
      if (!found) return (*shared)(found.error().code(), {});
      (*shared)({}, {name, found->version, found->size});
    });
    cancel_by(slot, core->fabric().data(), cancel);
  });
}

void shard_client::start_list(std::string prefix, std::string after, std::uint32_t limit,
                              handler_of<shard_page> handler) {
  fabrics::pending<shard_page> done(std::move(handler), core_->fabric().data());
  if (prefix.size() > longest_shard_name || after.size() > longest_shard_name) {
    return done.later(errc::invalid_name, {});
  }
  start_there(core_, [prefix = std::move(prefix), after = std::move(after), limit,
                      done = std::move(done)](const auto& core) mutable {
    const asking what{
        .what = {.what = verb::list, .name = prefix, .after = after, .version = {}, .number = limit, .crcs = {}},
        .deadline = fabrics::deadline_of({}, core->limits())};
    auto slot = done.slot();
    auto shared = std::make_shared<fabrics::pending<shard_page>>(std::move(done));
    const auto cancel = core->ask_any(what, [shared](links::outcome&& ended) {
      if (ended.code) return (*shared)(ended.code, {});
      const auto found = decode_page(ended.payload);
      if (!found) return (*shared)(found.error().code(), {});
      shard_page page{.shards = {}, .more = found->more};
      for (const auto& entry : found->shards) page.shards.push_back({entry.name, entry.version, entry.size});
      (*shared)({}, std::move(page));
    });
    cancel_by(slot, core->fabric().data(), cancel);
  });
}

void shard_client::start_fetch(std::string name, std::vector<fetch_piece> pieces, bool whole, fetch_options options,
                               handler_of<fetch_result> handler) {
  if (const auto valid = check_shard_name(name); !valid) {
    fabrics::pending<fetch_result> done(std::move(handler), core_->fabric().data());
    return done.later(valid.error().code(), {.version = {}, .where = valid.error().where()});
  }
  auto job = std::make_shared<fetch_job>(core_, std::move(name), std::move(pieces), whole, options, std::move(handler));
  start_there(core_, [job](const auto&) { job->start(); });
}

void shard_client::start_put(std::string name, region_view from, put_options options, handler_of<put_result> handler) {
  if (const auto valid = check_shard_name(name); !valid) {
    fabrics::pending<put_result> done(std::move(handler), core_->fabric().data());
    return done.later(valid.error().code(), {.version = {}, .copies = {}, .where = valid.error().where()});
  }
  auto job = std::make_shared<put_job>(core_, std::move(name), std::move(from), options, std::move(handler));
  start_there(core_, [job](const auto&) { job->start(); });
}

void shard_client::start_verify(std::string name, std::optional<std::chrono::nanoseconds> deadline,
                                handler_of<verify_result> handler) {
  fabrics::pending<verify_result> done(std::move(handler), core_->fabric().data());
  if (const auto valid = check_shard_name(name); !valid) {
    return done.later(valid.error().code(), {.version = {}, .copies = {}, .where = valid.error().where()});
  }
  start_there(core_, [name = std::move(name), deadline, done = std::move(done)](const auto& core) mutable {
    auto job = std::make_shared<verify_job>(core, std::move(done));
    job->start(name, fabrics::deadline_of(deadline, core->limits()));
  });
}

} // namespace weft
