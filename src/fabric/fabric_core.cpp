#include "fabric/fabric_core.hpp"

#include "fabric/link_core.hpp"
#include "path/address.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>

#include <fmt/format.h>

namespace weft::fabrics {
namespace {

namespace asio = boost::asio;

std::string made_up_name(const id128& incarnation) {
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  return fmt::format("{}:{}:{}", host, ::getpid(), to_string(incarnation).substr(0, 8));
}

std::vector<std::unique_ptr<worker>> start_data_threads(const tunables& limits, const std::string& names,
                                                        lanes::host_board& board) {
  std::vector<std::unique_ptr<worker>> threads;
  for (std::uint32_t i = 0; i < limits.threads_data; ++i) {
    thread_plan plan{names + "-data", limits.threads_data_cpus, limits.threads_data_priority, limits.threads_data_nice};
    if (limits.threads_data > 1) plan.name += fmt::format("-{}", i);
    threads.push_back(std::make_unique<worker>(plan, limits, board));
  }
  return threads;
}

} // namespace

fabric_core::fabric_core(const config& settings)
    : limits_(settings.values()), live_(limits_), log_(settings.sink(), limits_.log_level), incarnation_(random_id()),
      host_(limits_.host_share), rails_(host_.board(), [this](const rail& found) { rail_found(found); }),
      realtime_limit_(limits_.lane_realtime_limit.on({})),
      realtime_({settings.get("threads.name").value() + "-realtime", limits_.threads_realtime_cpus,
                 limits_.threads_realtime_priority, limits_.threads_realtime_nice, true},
                limits_, host_.board()),
      data_(start_data_threads(limits_, settings.get("threads.name").value(), host_.board())),
      acceptor_(data().context()), accept_pause_(data().context()) {
  host_.board().weigh(limits_.lane_bulk_weight);
  if (!host_.why_not().empty()) {
    log_.warning("bulk data makes no room for the realtime traffic of other processes on this host, nor theirs for "
                 "ours: {}; host.share=off says that none is meant to",
                 host_.why_not());
  }
  for (const auto& complaint : realtime_.complaints()) log_.warning("{}", complaint);
  for (const auto& thread : data_) {
    for (const auto& complaint : thread->complaints()) log_.warning("{}", complaint);
  }
  name_ = settings.peer_name().empty() ? made_up_name(incarnation_) : settings.peer_name();
}

fabric_core::~fabric_core() {
  shut_down();
}

result<std::shared_ptr<fabric_core>> fabric_core::start(const config& settings) {
  if (const auto valid = settings.validate(); !valid) return valid.error();
  if (settings.peer_name().size() > wire::longest_peer_name) {
    return error(errc::invalid_config, fmt::format("peer.name has over {} bytes", wire::longest_peer_name));
  }
  if (const auto had = path::tcp::check_options(settings.values()); !had) return had.error();
  std::shared_ptr<fabric_core> core;
  try {
    core.reset(new fabric_core(settings), delete_unless_forked());
  } catch (const std::runtime_error& refused) { // Asio's and the library's: no more threads, descriptors or pages, say
    return error(errc::os_failure, refused.what());
  }
  core->unfenced_ = std::shared_ptr<void>(core.get(), [weak = core->weak_from_this()](void*) {
    if (const auto live = weak.lock()) live->all_fenced();
  });
  const bool listens = !settings.listen().empty();
  if (const auto opened = core->open_rails(settings.get("threads.name").value(), listens); !opened) {
    core->shut_down();
    return opened.error();
  }
  if (listens) {
    if (const auto listening = core->listen(settings.listen()); !listening) {
      core->shut_down();
      return listening.error();
    }
  }
  return core;
}

result<void> fabric_core::listen(const std::string& at) {
  const auto where = path::tcp::parse_address(at);
  if (!where) return where.error();
  error_code code;
  asio::ip::tcp::resolver resolver(data().context());
  const auto found = resolver.resolve(where->host, where->port, asio::ip::tcp::resolver::passive, code);
  if (code || found.empty()) return error(errc::name_unresolved, fmt::format("{}: {}", at, code.message()));
  const auto endpoint = found.begin()->endpoint();
  acceptor_.open(endpoint.protocol(), code);
  if (!code) ::fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
  if (!code) acceptor_.set_option(asio::socket_base::reuse_address(true), code);
  if (!code) acceptor_.bind(endpoint, code);
  if (!code) acceptor_.listen(asio::socket_base::max_listen_connections, code);
  if (code) return error(to_errc(code), at);
  address_ = path::to_text(acceptor_.local_endpoint(code));
  data().run([self = shared_from_this()] { self->accept_next(); });
  return {};
}

result<void> fabric_core::open_rails(const std::string& thread_names, bool listens) {
  auto opened = fabrics::rdma::open(path::verbs::calls_in_use(), limits_, log_, thread_names);
  if (!opened) return opened.error();
  rdma_ = std::move(*opened);
  // Only who dials a link dials its queue pairs.
  if (!rdma_ || !listens) return {};
  rdma_->listen([weak = weak_from_this()](std::shared_ptr<path::verbs::connector::request> request) {
    if (const auto self = weak.lock()) self->queue_pair_asked(std::move(request));
  });
  return {};
}

void fabric_core::refused(const std::string& what) {
  ++refused_;
  log_.info("refused {}", what);
}

void fabric_core::refuse(asio::ip::tcp::socket socket, errc why, std::string_view what) {
  refused(fmt::format("{}: {}", what, weft::name(why)));
  path::tcp::refuse(std::move(socket), why);
}

/// On the thread that sets up queue pairs.
void fabric_core::queue_pair_asked(std::shared_ptr<path::verbs::connector::request> request) {
  std::shared_ptr<link_core> link;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = accepted_.find(request->said().session); found != accepted_.end()) link = found->second;
  }
  if (link) return link->accept_queue_pair(std::move(request));
  refused(fmt::format("a queue pair of session {}: there is none", to_string(request->said().session)));
}

// Accepting. All of it on the first data thread.

void fabric_core::accept_next() {
  acceptor_.async_accept([weak = weak_from_this()](const error_code& code, asio::ip::tcp::socket socket) {
    const auto self = weak.lock();
    if (!self || code == asio::error::operation_aborted) return;
    if (code) {
      // Out of descriptors, say: the next attempt waits, and what is linked goes on.
      self->log_.warning("accept: {}", code.message());
      self->accept_pause_.expires_after(self->limits_.redial_max);
      return self->accept_pause_.async_wait([weak](const error_code& stopped) {
        const auto later = weak.lock();
        if (later && !stopped) later->accept_next();
      });
    }
    self->accept_next();
    if (self->greeting_ >= self->limits_.handshakes_max) {
      return self->refuse(std::move(socket), errc::limit_exceeded, "a connection before it said who it is");
    }
    path::tcp::set_options(socket, self->limits_);
    ++self->greeting_;
    path::tcp::greet(std::move(socket), self->limits_.handshake_timeout,
                     [weak](const error& failure, asio::ip::tcp::socket from, const wire::frame_header& header,
                            std::span<const std::byte> body) {
                       const auto core = weak.lock();
                       if (!core) return;
                       core->data().begin();
                       core->greeted(failure, std::move(from), header, body);
                       core->data().end();
                     });
  });
}

void fabric_core::greeted(const error& failure, asio::ip::tcp::socket socket, const wire::frame_header& header,
                          std::span<const std::byte> body) {
  --greeting_;
  if (failure.code() != errc{}) {
    refused("a connection: " + failure.message());
    if (failure.code() == errc::version_mismatch) path::tcp::refuse(std::move(socket), failure.code());
    return;
  }
  if (header.type == wire::frame_type::hello) return session_greeted(std::move(socket), body);
  if (header.type == wire::frame_type::channel_hello) return channel_greeted(std::move(socket), body);
  refused(fmt::format("a connection: it began with a frame of type {}", static_cast<int>(header.type)));
}

void fabric_core::session_greeted(asio::ip::tcp::socket socket, std::span<const std::byte> body) {
  auto peer = wire::decode_hello(body);
  if (!peer) return refuse(std::move(socket), errc::protocol_error, "a session");
  const auto what = fmt::format("a session of '{}'", peer->name);
  if (peer->required != 0)
    return refuse(std::move(socket), errc::version_mismatch, what); // no feature bit is known yet
  std::shared_ptr<link_core> resumed;
  bool closing = false;
  {
    const std::lock_guard lock(mutex_);
    closing = closing_;
    if (const auto found = accepted_.find(peer->session); found != accepted_.end()) resumed = found->second;
  }
  if (closing) return refuse(std::move(socket), errc::peer_closed, what);
  if (resumed) return resumed->accept(std::move(socket), *peer);
  // Else a session of an earlier incarnation of this process.
  if (peer->session_epoch > 1) return refuse(std::move(socket), errc::peer_restarted, what);
  const std::shared_ptr<link_core> link(new link_core(shared_from_this(), greeting(), *peer), delete_unless_forked());
  auto waiting = std::make_shared<asio::ip::tcp::socket>(std::move(socket));
  ++greeting_;
  claim_name(link, [self = shared_from_this(), waiting, link, hello = *peer](errc refusal) {
    self->data().run([self, waiting, link, hello, refusal] { self->admit(std::move(*waiting), link, hello, refusal); });
  });
}

void fabric_core::admit(asio::ip::tcp::socket socket, const std::shared_ptr<link_core>& link, const wire::hello& peer,
                        errc refusal) {
  --greeting_;
  if (refusal == errc{}) {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      refusal = errc::peer_closed;
    } else if (!accepted_.emplace(peer.session, link).second) {
      refusal = errc::protocol_error; // the same hello twice
    } else {
      link->registered(unfenced_);
    }
  }
  if (refusal == errc{}) return link->accept(std::move(socket), peer);
  refuse(std::move(socket), refusal, fmt::format("a session of '{}'", peer.name));
}

void fabric_core::channel_greeted(asio::ip::tcp::socket socket, std::span<const std::byte> body) {
  const auto hello = wire::decode_channel_hello(body);
  std::shared_ptr<link_core> link;
  if (hello) {
    const std::lock_guard lock(mutex_);
    if (const auto found = accepted_.find(hello->session); found != accepted_.end()) link = found->second;
  }
  if (!link) return refuse(std::move(socket), hello ? errc::peer_restarted : errc::protocol_error, "a channel");
  link->accept_channel(std::move(socket), *hello);
}

wire::hello fabric_core::greeting() const {
  wire::hello mine{.name = name_, .incarnation = incarnation_, .session = {}};
  if (rdma_) mine.rails = rdma_->offered();
  return mine;
}

// Memory.

result<std::shared_ptr<const registration>> fabric_core::register_memory(std::span<std::byte> bytes,
                                                                         std::function<void()> release) {
  const auto* here = rdma_ ? rdma_->rails().get() : nullptr;
  if (!rdma_ || bytes.empty()) return std::make_shared<const registration>(bytes, std::move(release), here);
  auto added = rdma_->rails()->add(bytes);
  if (!added) {
    if (release) release();
    return added.error();
  }
  auto keys = added->keys();
  // Of the rails, whose devices the regions belong to, this is an owner: a region may outlive its fabric.
  auto regions = std::make_shared<path::verbs::rail_set::registered>(std::move(*added));
  return std::make_shared<const registration>(
      bytes,
      [rails = rdma_->rails(), regions = std::move(regions), release = std::move(release)]() mutable {
        regions.reset();
        if (release) release();
      },
      here, std::move(keys));
}

/// A device would refuse it in the middle of a transfer, and the link would break.
error fabric_core::check_memory(const region_view& part) const {
  if (!part.owner || !rdma_ || part.owner->rails == rdma_->rails().get()) return {};
  return {errc::invalid_argument, "the region is another fabric's: register the memory with this one"};
}

result<std::shared_ptr<const registration>> fabric_core::allocate(std::uint64_t bytes) {
  if (bytes == 0) return error(errc::invalid_argument, "a region of no bytes");
  auto* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return error(errc::out_of_memory, fmt::format("a region of {} bytes", bytes));
  return register_memory({static_cast<std::byte*>(memory), bytes}, [memory, bytes] { ::munmap(memory, bytes); });
}

// From any thread.

std::function<void()> fabric_core::connect(std::string address, duration limit, connected done) {
  auto to = path::tcp::parse_address(address);
  auto mine = greeting();
  mine.session = random_id();
  if (!to) {
    data().post([done = std::move(done), why = to.error()] { done(why, nullptr); });
    return [] {};
  }
  const std::shared_ptr<link_core> link(new link_core(shared_from_this(), std::move(*to), std::move(mine)),
                                        delete_unless_forked());
  link->thread().run([self = shared_from_this(), link, limit, done = std::move(done)]() mutable {
    if (!self->add_dialled(link)) return done(error(errc::closed, "the fabric is closed"), nullptr);
    auto timer = std::make_shared<asio::steady_timer>(link->thread().context());
    timer->expires_after(limit);
    timer->async_wait([link](const error_code& code) {
      if (!code) link->give_up_connecting(error(errc::deadline_exceeded, "no link by the deadline of connect"));
    });
    link->connect([link, timer, done = std::move(done)](const error& failure) {
      timer->cancel();
      done(failure, failure.code() == errc{} ? link : nullptr);
    });
  });
  return [weak = std::weak_ptr(link)] {
    const auto live = weak.lock();
    if (!live || live->forked()) return;
    live->thread().run([live] { live->give_up_connecting(error(errc::cancelled)); });
  };
}

void fabric_core::serve(service_id id, std::shared_ptr<service> with) {
  if (id == service_id::shards) shards_.store(std::move(with));
}

void fabric_core::operation_arrived(std::shared_ptr<link_side> side, const links::incoming& begun) {
  const call arrived(std::move(side), begun);
  switch (static_cast<service_id>(begun.terms.service)) {
    case service_id::user: return users_.arrived(arrived, begun.payload);
    case service_id::regions: return publications_.arrived(arrived, begun.payload);
    case service_id::shards:
      if (const auto shards = shards_.load()) return shards->arrived(arrived, begun.payload);
      break;
  }
  arrived.fail(error(errc::no_handler, fmt::format("service {} is not offered here", begun.terms.service)));
}

bool fabric_core::add_dialled(const std::shared_ptr<link_core>& link) {
  const std::lock_guard lock(mutex_);
  if (closing_) return false;
  link->registered(unfenced_);
  dialled_.emplace(link->id(), link);
  return true;
}

void fabric_core::link_ended(const link_core& link) {
  std::vector<std::shared_ptr<link_core>> last; // released outside the lock
  {
    const std::lock_guard lock(mutex_);
    for (auto* ends : {&dialled_, &accepted_}) {
      const auto found = ends->find(link.id());
      if (found == ends->end() || found->second.get() != &link) continue;
      last.push_back(std::move(found->second));
      ends->erase(found);
    }
    if (const auto named = names_.find(link.peer()); named != names_.end()) {
      std::erase_if(named->second.links, [&](const std::weak_ptr<link_core>& each) {
        last.push_back(each.lock());
        return !last.back() || last.back().get() == &link;
      });
      if (named->second.links.empty()) names_.erase(named);
    }
  }
  if (const auto shards = shards_.load()) shards->link_ended();
}

void fabric_core::claim_name(const std::shared_ptr<link_core>& link, std::function<void(errc refusal)> told) {
  const auto& incarnation = link->peer_incarnation();
  if (link->peer() == name_ && incarnation != incarnation_) return told(errc::name_in_use);
  std::vector<std::shared_ptr<link_core>> held; // released outside the lock
  std::vector<std::shared_ptr<link_core>> incumbents;
  {
    const std::lock_guard lock(mutex_);
    auto& owner = names_[link->peer()];
    if (owner.incarnation != incarnation) {
      for (const auto& each : owner.links) {
        held.push_back(each.lock());
        if (held.back() && held.back()->alive()) incumbents.push_back(held.back());
      }
      if (incumbents.empty()) owner = {incarnation, {}};
    }
    if (incumbents.empty()) owner.links.push_back(link);
  }
  if (incumbents.empty()) return told({});
  probe_incumbents(incumbents, [self = shared_from_this(), link, incumbents, told = std::move(told)](bool lives) {
    if (lives) return told(errc::name_in_use);
    for (const auto& each : incumbents) each->end_as(errc::peer_restarted);
    {
      const std::lock_guard lock(self->mutex_);
      const auto found = self->names_.find(link->peer());
      if (found != self->names_.end() && found->second.incarnation == incumbents.front()->peer_incarnation()) {
        self->names_.erase(found);
      }
    }
    // Others may have waited for the same answer: whoever asks first now has the name.
    if (!link->alive()) return told(errc::closed);
    self->claim_name(link, told);
  });
}

/// Whether any of them gives a sign of life.
void fabric_core::probe_incumbents(const std::vector<std::shared_ptr<link_core>>& incumbents,
                                   std::function<void(bool lives)> told) {
  struct survey {
    std::atomic<std::size_t> left;
    std::atomic<bool> over = false;
    std::function<void(bool)> told;
  };
  auto all = std::make_shared<survey>();
  all->left = incumbents.size();
  all->told = std::move(told);
  for (const auto& each : incumbents) {
    each->probe([all](bool lives) {
      const bool last = --all->left == 0;
      if ((lives || last) && !all->over.exchange(true)) all->told(lives);
    });
  }
}

std::vector<std::shared_ptr<link_core>> fabric_core::links() const {
  std::vector<std::shared_ptr<link_core>> all;
  const std::lock_guard lock(mutex_);
  for (const auto* ends : {&dialled_, &accepted_}) {
    for (const auto& [id, link] : *ends) all.push_back(link);
  }
  return all;
}

void fabric_core::keep_counters(const link_core& of) {
  const std::lock_guard lock(mutex_);
  of.add_counters_to(ended_);
  ended_.operations = 0; // under way: none any more
}

metrics fabric_core::snapshot() const {
  const auto live = links();
  metrics sum;
  {
    const std::lock_guard lock(mutex_);
    sum = ended_;
  }
  const auto now = clock::now();
  for (const auto* each : rails_.known()) {
    rail_metrics on{.name = each->name};
    realtime_.add_to(on, *each);
    for (const auto& thread : data_) thread->add_to(on, *each);
    const lanes::host_board board(host_.board(), each->slot);
    on.budget.crowded = lanes::budget::crowded(board.last_seen(now), now);
    sum.rails.push_back(std::move(on));
  }
  sum.crowded = lanes::budget::crowded(host_.board().last_seen_anywhere(now), now);
  realtime_.add_to(sum.realtime_pickup);
  sum.refused = refused_ + (rdma_ ? rdma_->connections()->refused() : 0);
  sum.broken_links = broken_links_;
  sum.tcp_fallbacks = tcp_fallbacks_;
  sum.realtime_demoted = demoted_;
  for (const auto& link : live) {
    sum.links += link->alive() ? 1 : 0;
    link->add_counters_to(sum);
  }
  return sum;
}

} // namespace weft::fabrics
