#include "shard/server.hpp"

#include "fabric/link_core.hpp"
#include "shard/name.hpp"

#include <fmt/format.h>

namespace weft::shards {

server_core::server_core(std::shared_ptr<fabrics::fabric_core> fabric, std::unique_ptr<system_calls> calls,
                         std::unique_ptr<file_store> store, pool_memory pools)
    : fabric_(std::move(fabric)), calls_(std::move(calls)), store_(std::move(store)),
      read_pool_(std::make_shared<memory::buffer_pool>(std::move(pools.first))),
      write_pool_(std::make_shared<memory::buffer_pool>(std::move(pools.second))),
      disk_(fabric_->limits().shard_threads) {}

void server_core::stop() {
  fabric_->serve(fabrics::service_id::shards, nullptr);
  {
    const std::lock_guard lock(disk_mutex_);
    stopped_ = true;
  }
  disk_.join();
  for (const auto& [begun, name] : std::exchange(to_verify_, {})) begun.fail(server_is_closed());
  scrubber_.reset();
  decltype(puts_) unfinished;
  {
    const std::lock_guard lock(puts_mutex_);
    unfinished.swap(puts_);
  }
  unfinished.clear(); // removes files, so before the store goes
  store_.reset();
}

void server_core::link_ended() {
  std::ignore = try_queue([](server_core& self) { self.drop_lost_puts(); });
}

void server_core::arrived(const fabrics::call& begun, std::span<const std::byte> payload) {
  auto decoded = decode_command(payload);
  if (!decoded) return begun.fail(decoded.error());
  auto& asked = *decoded;
  const auto expected = asked.what == verb::read        ? wire::operation_kind::read
                        : asked.what == verb::put_chunk ? wire::operation_kind::write
                                                        : wire::operation_kind::request;
  if (begun.terms().kind != expected) return begun.fail(error(errc::protocol_error, "command in the wrong operation"));
  const auto later = [&](auto member) {
    on_disk(begun, [begun, asked = std::move(asked), member](server_core& self) { (self.*member)(begun, asked); });
  };
  switch (asked.what) {
    case verb::stat: return later(&server_core::stat);
    case verb::list: return later(&server_core::list);
    case verb::verify: return later(&server_core::verify);
    case verb::remove: return later(&server_core::remove);
    case verb::read: return read(begun, asked);
    case verb::put_begin: return put_begin(begun, asked);
    case verb::put_chunk: return put_chunk(begun, asked);
    case verb::put_compare: return later(&server_core::put_compare);
    case verb::put_commit: return later(&server_core::put_commit);
    case verb::put_abandon: return put_abandon(begun, asked);
  }
}

void server_core::stat(const fabrics::call& begun, const command& asked) {
  const auto found = store_->stat(asked.name, asked.wanted_version());
  if (!found) return begun.fail(found.error());
  begun.succeed(encode(answer{.version = found->version, .size = found->size}));
}

void server_core::list(const fabrics::call& begun, const command& asked) {
  const auto limit = std::min<std::uint64_t>(std::max<std::uint64_t>(asked.number, 1), most_listed);
  begun.succeed(encode(store_->list(asked.name, asked.after, static_cast<std::size_t>(limit))));
}

/// Why reading on for this peer is in vain, or no error: the server ends (peer_closed), the link has ended (closed,
/// which nobody hears), or the deadline has passed by this end's clock (deadline_exceeded). That the peer cancelled it
/// before is not seen here.
errc server_core::given_up(const fabrics::call& begun) const {
  if (stopped_) return server_is_closed().code();
  if (!begun.link()->alive()) return errc::closed;
  return clock::now() >= begun.deadline() ? errc::deadline_exceeded : errc{};
}

/// As many are open at once as there are threads: a peer may ask for thousands.
void server_core::verify(const fabrics::call& begun, const command& asked) {
  {
    const std::lock_guard lock(verify_mutex_);
    to_verify_.emplace_back(begun, asked.name);
    if (verifying_ == fabric_->limits().shard_threads) return;
    ++verifying_;
  }
  verify_next();
}

void server_core::verify_next() {
  std::unique_lock lock(verify_mutex_);
  if (to_verify_.empty()) return void(--verifying_);
  const auto [begun, name] = std::move(to_verify_.front());
  to_verify_.pop_front();
  lock.unlock();
  const auto why = given_up(begun);
  const auto opened = why == errc{} ? store_->open_shard(name) : error(why, name);
  if (opened) return go_on(begun, std::make_shared<verification>(*opened));
  begun.fail(opened.error());
  verification_ended();
}

/// A turn of a verification: between them others get theirs.
void server_core::go_on(const fabrics::call& begun, const std::shared_ptr<verification>& of) {
  constexpr std::uint64_t blocks_at_once = 64;
  const auto why = given_up(begun);
  if (why == errc{} && of->check(blocks_at_once)) {
    return on_disk(begun, [begun, of](server_core& self) { self.go_on(begun, of); });
  }
  verification_ended();
  if (why != errc{}) return begun.fail(error(why, of->progress()));
  auto& bad = of->bad();
  bad_blocks_ += bad.size();
  if (bad.size() > most_bad_blocks) bad.resize(most_bad_blocks);
  begun.succeed(encode(answer{.version = of->of().version, .size = of->blocks(), .bad_blocks = std::move(bad)}));
}

void server_core::verification_ended() {
  std::ignore = try_queue([](server_core& self) { self.verify_next(); });
}

void server_core::remove(const fabrics::call& begun, const command& asked) {
  const auto removed = store_->remove(asked.name, asked.wanted_version());
  if (!removed) return begun.fail(removed.error());
  ++shards_removed_;
  fabric_->log().info("shard '{}' was removed by {}", asked.name, begun.peer());
  begun.succeed({});
}

void server_core::scrub(bytes_per_second rate, std::function<void(const stored_fault&)> told) {
  scrubber_ = std::make_unique<scrubber>(*store_, rate, [this, told = std::move(told)](const stored_fault& fault) {
    ++bad_blocks_;
    fabric_->log().warning("scrub: {}", error(to_errc(fault.code), fault.where).message());
    if (told) told(fault);
  });
}

shard_server_metrics server_core::snapshot() const {
  return {.shards = store_->size(),
          .bytes_served = bytes_served_,
          .bytes_stored = bytes_stored_,
          .puts_committed = puts_committed_,
          .shards_removed = shards_removed_,
          .bad_blocks = bad_blocks_,
          .bytes_scrubbed = scrubber_ ? scrubber_->bytes() : 0,
          .scrub_passes = scrubber_ ? scrubber_->passes() : 0};
}

} // namespace weft::shards

namespace weft {

shard_server::shard_server(std::shared_ptr<shards::server_core> core) noexcept : core_(std::move(core)) {}
shard_server::shard_server(shard_server&&) noexcept = default;

shard_server& shard_server::operator=(shard_server&& other) noexcept {
  std::swap(core_, other.core_);
  return *this;
}

shard_server::~shard_server() {
  if (core_ && !core_->forked()) core_->stop();
}

result<shard_server> shard_server::open(fabric& on, const std::filesystem::path& folder, shard_server_options options) {
  if (on.core()->forked()) return error(errc::forked);
  auto calls = std::make_unique<kernel_calls>();
  auto store = file_store::open(folder, *calls, on.core()->limits().shard_low_space);
  if (!store) return store.error();
  for (const auto& damaged : (*store)->damaged_manifests()) {
    on.core()->log().warning("{}: manifest {} is damaged; its shard is not served", folder.string(), damaged);
  }
  const auto pool_bytes = memory::buffer_pool::size_for(on.core()->limits().pool_bytes.value());
  auto for_reads = on.core()->allocate(pool_bytes);
  if (!for_reads) return for_reads.error();
  auto for_writes = on.core()->allocate(pool_bytes);
  if (!for_writes) return for_writes.error();
  std::shared_ptr<shards::server_core> core;
  try {
    core.reset(new shards::server_core(on.core(), std::move(calls), std::move(*store),
                                       {std::move(*for_reads), std::move(*for_writes)}),
               delete_unless_forked());
    if (options.scrub) core->scrub(*options.scrub, std::move(options.on_fault));
  } catch (const std::runtime_error& refused) { // no more threads
    return error(errc::os_failure, refused.what());
  }
  on.core()->serve(fabrics::service_id::shards, core);
  return shard_server(core);
}

shard_server_metrics shard_server::snapshot() const {
  return core_->forked() ? shard_server_metrics{} : core_->snapshot();
}

} // namespace weft
