#include "path/verbs/connect.hpp"

#include "path/address.hpp"

#include <boost/asio/post.hpp>

#include <fcntl.h>
#include <pthread.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

/// An attempt makes room for the next one when it has not ended after so long: a dead peer keeps nobody waiting.
constexpr auto patience = std::chrono::milliseconds(200);
/// librdmacm opens each device once for the whole process, so that an event is read by whichever connector comes first:
/// it tells all of them.
struct every_connector {
  std::mutex mutex;
  std::vector<std::weak_ptr<connector>> all;
};
every_connector& connectors() {
  static every_connector of_process;
  return of_process;
}

std::string text_of(int code) {
  return std::strerror(code);
}

sockaddr_storage address_of(const boost::asio::ip::tcp::endpoint& of) {
  sockaddr_storage address{};
  std::memcpy(&address, of.data(), of.size());
  return address;
}

sockaddr* generic(sockaddr_storage& address) {
  return reinterpret_cast<sockaddr*>(&address);
}

} // namespace

/// An event of librdmacm's, with what it points to.
struct connector::arrival {
  rdma_cm_id* id = nullptr;
  rdma_cm_event_type type{};
  int status = 0;
  rdma_conn_param terms{};
  std::vector<std::byte> data;
};

/// A connection that this end dials, until its endpoint is handed on.
struct connector::attempt {
  attempt(boost::asio::io_context& on) : timer(on), turn(on) {}

  listening_rail to;
  greeting said;
  queues_on from;
  dialled done;
  connection_id id;
  std::unique_ptr<endpoint> made;
  duration limit{}; ///< from its turn on
  boost::asio::steady_timer timer;
  boost::asio::steady_timer turn;
  bool counts = false;     ///< among those that dial
  bool from_named = false; ///< from the address that verbs.rails names, not the one that routing chose
};

connector::request::request(std::shared_ptr<connector> of, connection_id id, greeting said, rdma_conn_param terms)
    : of_(std::move(of)), id_(std::move(id)), said_(said), terms_(terms) {}

connector::request::~request() {
  refuse();
}

void connector::request::refuse() {
  if (!id_) return;
  of_->post([of = of_, id = std::make_shared<connection_id>(std::move(id_))] {
    of->by_.reject(id->get(), nullptr, 0);
    id->reset();
  });
}

void connector::request::accept(queues_on from, dialled ready) {
  of_->post([of = of_, id = std::make_shared<connection_id>(std::move(id_)), said = said_, terms = terms_,
             from = std::move(from),
             ready = std::move(ready)] { of->accept_here(std::move(*id), said, terms, from, ready); });
}

connector::connector(const calls& by, const rail_set& rails, const tunables& limits, const logger& log)
    : by_(by), rails_(rails), limits_(limits), log_(log), work_(context_.get_executor()), wake_(context_),
      random_(random_id().low) {}

result<std::shared_ptr<connector>> connector::open(const calls& by, const rail_set& rails, const tunables& limits,
                                                   const logger& log, const std::string& thread_name) {
  std::shared_ptr<connector> opened(new connector(by, rails, limits, log));
  if (const auto created = opened->create(thread_name); !created) return created.error();
  const std::lock_guard lock(connectors().mutex);
  connectors().all.push_back(opened);
  return opened;
}

result<void> connector::create(const std::string& thread_name) {
  events_ = {by_.create_event_channel(), {&by_}};
  if (!events_) return error(errc::os_failure, "rdma_create_event_channel: " + text_of(errno));
  const auto watch = [](boost::asio::posix::stream_descriptor& with, int descriptor) {
    ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    error_code failed;
    with.assign(descriptor, failed);
    return failed;
  };
  if (const auto failed = watch(wake_, events_->fd)) return error(errc::os_failure, failed.message());
  for (const auto& rail : rails_.rails()) {
    const bool known = std::any_of(devices_.begin(), devices_.end(),
                                   [&rail](const device_events& each) { return each.context == rail.context; });
    if (known) continue;
    devices_.push_back({rail.context, boost::asio::posix::stream_descriptor(context_)});
    // Two fabrics of one process have the same context, and so the same descriptor: each watches a copy.
    if (const auto failed = watch(devices_.back().wake, ::dup(rail.context->async_fd))) {
      return error(errc::os_failure, failed.message());
    }
  }
  wait_for_events();
  for (std::size_t i = 0; i < devices_.size(); ++i) wait_for_device(i);
  thread_ = std::thread([this] { context_.run(); });
  ::pthread_setname_np(thread_.native_handle(), thread_name.c_str());
  return {};
}

connector::~connector() {
  stop();
}

void connector::stop() {
  if (stopped_.exchange(true)) return;
  {
    const std::lock_guard lock(connectors().mutex);
    std::erase_if(connectors().all, [this](const auto& each) { return each.expired() || each.lock().get() == this; });
  }
  boost::asio::post(context_, [this] { context_.stop(); });
  if (thread_.joinable()) thread_.join();
  joined_ = true;
  while (posting_ != 0) std::this_thread::yield();
  wake_.release(); // the event channel's own
  work_.reset();
  context_.drop_handlers();
  attempts_.clear();
  waiting_.clear();
  listeners_.clear();
  on_asked_ = nullptr;
}

// Events.

void connector::wait_for_events() {
  wake_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const error_code& code) {
    if (code) return;
    rdma_cm_event* event = nullptr;
    while (by_.get_cm_event(events_.get(), &event) == 0) {
      arrival copied{
          .id = event->id, .type = event->event, .status = event->status, .terms = event->param.conn, .data = {}};
      const auto* data = static_cast<const std::byte*>(event->param.conn.private_data);
      if (data != nullptr) copied.data.assign(data, data + event->param.conn.private_data_len);
      copied.terms.private_data = nullptr;
      // Before it is handled: an id cannot be destroyed as long as one of its events is not acknowledged.
      by_.ack_cm_event(event);
      handle(std::move(copied));
    }
    wait_for_events();
  });
}

void connector::handle(arrival&& event) {
  if (event.type == RDMA_CM_EVENT_CONNECT_REQUEST) return requested(std::move(event));
  if (const auto found = attempts_.find(event.id); found != attempts_.end()) {
    const auto of = found->second;
    return next_step(of, event);
  }
  const auto found = live_.find(event.id);
  if (found == live_.end()) return;
  auto& of = found->second;
  switch (event.type) {
    case RDMA_CM_EVENT_ESTABLISHED: return tell(*of.which, endpoint::event::established, {});
    case RDMA_CM_EVENT_TIMEWAIT_EXIT:
    case RDMA_CM_EVENT_ADDR_CHANGE: return;
    default: break;
  }
  const auto why = event.type == RDMA_CM_EVENT_DISCONNECTED ? std::string("the peer closed the queue pair")
                                                            : fmt::format("connection manager event {}, status {}",
                                                                          static_cast<int>(event.type), event.status);
  lose(of, fmt::format("rail {} to {}: {}", of.which->shared->on().name, of.which->peer_address, why));
}

void connector::tell(endpoint& of, endpoint::event what, const std::string& why) {
  if (of.on_event) of.on_event(what, why);
}

void connector::wait_for_device(std::size_t index) {
  devices_[index].wake.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                                  [this, index](const error_code& code) {
                                    if (code) return;
                                    ibv_async_event event{};
                                    while (by_.get_async_event(devices_[index].context, &event) == 0) {
                                      pass_on(devices_[index].context, event);
                                      by_.ack_async_event(&event);
                                    }
                                    wait_for_device(index);
                                  });
}

/// What one connector hears of a device is for all of the process: work(connector), on the thread of each.
template <class Work>
void connector::on_all(const Work& work) {
  const std::lock_guard lock(connectors().mutex);
  for (const auto& each : connectors().all) {
    const auto other = each.lock();
    if (other) other->post([other, work] { work(*other); });
  }
}

void connector::pass_on(const ibv_context* device, const ibv_async_event& event) {
  const auto pair = [&event](endpoint::event what, const std::string& why) {
    on_all([which = event.element.qp, what, why](connector& each) {
      for (auto& [id, of] : each.live_) {
        if (!of.confirmed || of.which->pair.get() != which) continue;
        each.tell(*of.which, what,
                  fmt::format("rail {} to {}: {}", of.which->shared->on().name, of.which->peer_address, why));
      }
    });
  };
  const std::string name = ibv_event_type_str(event.event_type);
  switch (event.event_type) {
    case IBV_EVENT_QP_LAST_WQE_REACHED: return pair(endpoint::event::last_request_reached, name);
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR: return pair(endpoint::event::lost, name);
    case IBV_EVENT_CQ_ERR:
      return fail_queues(name, [of = event.element.cq](const queues& each) { return each.completions() == of; });
    case IBV_EVENT_SRQ_ERR:
      return fail_queues(name, [of = event.element.srq](const queues& each) { return each.receives() == of; });
    case IBV_EVENT_DEVICE_FATAL:
      return fail_queues(name, [device](const queues& each) { return each.on().context == device; });
    case IBV_EVENT_PORT_ERR:
    case IBV_EVENT_PORT_ACTIVE:
      if (const auto* rail = rails_.of(device, static_cast<std::uint8_t>(event.element.port_num))) {
        log_.info("rail {}: {}", rail->name, name);
      }
      return;
    default: return;
  }
}

/// Those that `meant` says yes to.
template <class Meant>
void connector::fail_queues(const std::string& why, const Meant& meant) {
  on_all([why, meant](connector& each) {
    for (auto& [id, of] : each.live_) {
      if (meant(*of.which->shared)) of.which->shared->break_down(why);
    }
  });
}

void connector::lose(live& of, std::string why) {
  if (of.confirmed) return tell(*of.which, endpoint::event::lost, why);
  of.lost = std::move(why);
}

// Dialling.

void connector::dial(const listening_rail& to, greeting said, duration limit, queues_on from, dialled done) {
  post([self = shared_from_this(), to, said, limit, from = std::move(from), done = std::move(done)]() mutable {
    const auto made = std::make_shared<attempt>(self->context_);
    made->to = to;
    made->said = said;
    made->from = std::move(from);
    made->done = std::move(done);
    made->limit = limit;
    self->waiting_.push_back(made);
    self->admit();
  });
}

void connector::admit() {
  const auto begun_to = [this](const auto& each) {
    const auto found = begun_to_.find(each->to.at.address());
    return found == begun_to_.end() ? 0 : found->second;
  };
  while (dialling_ < limits_.verbs_connects_max && !waiting_.empty()) {
    // To where the fewest are under way, in their order: nobody waits for all that would speak to a dead peer.
    const auto first = std::ranges::min_element(waiting_, {}, begun_to);
    const auto next = *first;
    waiting_.erase(first);
    ++begun_to_[next->to.at.address()];
    ++dialling_;
    next->counts = true;
    next->timer.expires_after(next->limit);
    next->timer.async_wait([self = shared_from_this(), next](const error_code& code) {
      if (!code) self->finish(next, error(errc::unreachable, to_text(next->to.at) + ": no queue pair in time"));
    });
    next->turn.expires_after(patience);
    next->turn.async_wait([self = shared_from_this(), next](const error_code& code) {
      if (code || !std::exchange(next->counts, false)) return;
      --self->dialling_;
      self->admit();
    });
    // Many that begin at once would collide at the peer again and again.
    auto pause = std::make_shared<boost::asio::steady_timer>(context_);
    pause->expires_after(std::chrono::microseconds(random_.below(2000)));
    pause->async_wait([self = shared_from_this(), pause, next](const error_code& code) {
      if (!code && next->done) self->begin(next);
    });
  }
}

void connector::finish(const std::shared_ptr<attempt>& of, const error& failure) {
  if (!of->done) return;
  of->timer.cancel();
  of->turn.cancel();
  if (std::exchange(of->counts, false)) --dialling_;
  if (const auto to = of->to.at.address(); --begun_to_[to] == 0) begun_to_.erase(to);
  const auto done = std::exchange(of->done, nullptr);
  if (of->id) attempts_.erase(of->id.get());
  if (failure.code() != errc{}) {
    if (of->made) of->made->shared->release(of->made->send_depth, queues::least_credits);
    of->made.reset();
    of->id.reset();
    done(failure, nullptr);
  } else {
    of->made->id = std::move(of->id);
    live_[of->made->id.get()] = {of->made.get(), false, {}};
    done({}, std::move(of->made));
  }
  admit();
}

/// `source`: null where the host's routing is to choose it.
void connector::begin(const std::shared_ptr<attempt>& of, const boost::asio::ip::address* source) {
  rdma_cm_id* id = nullptr;
  const auto failed = [&](const char* what) {
    finish(of, error(errc::unreachable, fmt::format("{}: {}: {}", to_text(of->to.at), what, text_of(errno))));
  };
  if (by_.create_id(events_.get(), &id, nullptr, RDMA_PS_TCP) != 0) return failed("rdma_create_id");
  if (of->id) attempts_.erase(of->id.get());
  of->id = {id, {&by_}};
  attempts_[id] = of;
  auto traffic = traffic_class_of(of->said.at.carries);
  by_.set_option(id, RDMA_OPTION_ID, RDMA_OPTION_ID_TOS, &traffic, sizeof traffic);
  auto address = address_of(of->to.at);
  auto local = address_of({source != nullptr ? *source : boost::asio::ip::address(), 0});
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(limits_.connect_timeout).count();
  if (by_.resolve_addr(id, source != nullptr ? generic(local) : nullptr, generic(address), static_cast<int>(limit)) !=
      0)
    failed("rdma_resolve_addr");
}

void connector::next_step(const std::shared_ptr<attempt>& of, const arrival& event) {
  auto& id = *of->id;
  const auto failed = [&](std::string what) {
    finish(of, error(errc::unreachable, fmt::format("{}: {}", to_text(of->to.at), what)));
  };
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED: {
      if (const auto* source = named_source(id); source != nullptr && !std::exchange(of->from_named, true)) {
        if (source->is_v6() == of->to.at.address().is_v6()) return begin(of, source);
        return failed("no route from the GID that verbs.rails names, of " + source->to_string());
      }
      const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(limits_.connect_timeout).count();
      if (by_.resolve_route(&id, static_cast<int>(limit)) != 0) failed("rdma_resolve_route: " + text_of(errno));
      return;
    }
    case RDMA_CM_EVENT_ROUTE_RESOLVED: {
      auto made = make_endpoint(id, of->from);
      if (!made) return finish(of, made.error());
      of->made = std::move(*made);
      of->made->peer_address = to_text(of->to.at);
      of->made->peer_rail = of->to.rail;
      of->said.rail = static_cast<std::uint8_t>(of->made->shared->on().index);
      auto terms = terms_of(*of->made);
      const auto data = encode(of->said);
      terms.private_data = data.data();
      terms.private_data_len = data.size();
      if (by_.connect(&id, &terms) != 0) failed("rdma_connect: " + text_of(errno));
      return;
    }
    case RDMA_CM_EVENT_CONNECT_RESPONSE: {
      const auto answer = decode_greeting(event.data);
      if (!answer) return finish(of, answer.error());
      of->made->peer_credits = answer->credits;
      if (const auto ready = make_ready(*of->made, id, of->said.at.carries, event.terms); !ready) {
        return finish(of, ready.error());
      }
      return finish(of, {});
    }
    case RDMA_CM_EVENT_REJECTED:
      return failed(fmt::format("the peer refused the queue pair (status {})", event.status));
    case RDMA_CM_EVENT_ADDR_ERROR: return failed("no RDMA rail leads there");
    case RDMA_CM_EVENT_ROUTE_ERROR: return failed("no route from the RDMA rail");
    default:
      return failed(fmt::format("connection manager event {}, status {}", static_cast<int>(event.type), event.status));
  }
}

// Handing on.

void connector::confirm(endpoint& attached) {
  post([self = shared_from_this(), id = attached.id.get()] {
    const auto found = self->live_.find(id);
    if (found == self->live_.end()) return;
    auto& of = found->second;
    of.confirmed = true;
    if (!of.lost.empty()) return self->tell(*of.which, endpoint::event::lost, of.lost);
    const auto failed = [&](const char* what) {
      self->tell(*of.which, endpoint::event::lost, fmt::format("{}: {}", what, text_of(errno)));
    };
    if (!of.which->accepted) {
      if (self->by_.establish(id) != 0) return failed("rdma_establish");
      return self->tell(*of.which, endpoint::event::established, {});
    }
    // The accepting end hears of the connection when the other one has this answer.
    auto terms = self->terms_of(*of.which);
    const auto data = encode(of.which->answer);
    terms.private_data = data.data();
    terms.private_data_len = data.size();
    if (self->by_.accept(id, &terms) != 0) failed("rdma_accept");
  });
}

void connector::dispose(std::unique_ptr<endpoint> used, boost::asio::any_io_executor thread,
                        std::function<void()> done) {
  post([self = shared_from_this(), thread, done = std::move(done),
        used = std::shared_ptr<endpoint>(std::move(used))]() mutable {
    self->live_.erase(used->id.get());
    self->by_.disconnect(used->id.get()); // so that the peer's fence begins now
    used->pair.reset();
    used->id.reset();
    boost::asio::post(thread, std::move(done));
  });
}

// Accepting.

std::vector<listening_rail> connector::listen(asked handler) {
  on_asked_ = std::move(handler);
  std::vector<listening_rail> all;
  for (const auto& rail : rails_.rails()) {
    for (const auto& address : rail.addresses) {
      rdma_cm_id* id = nullptr;
      auto bound = address_of({address, 0});
      const bool listening = by_.create_id(events_.get(), &id, nullptr, RDMA_PS_TCP) == 0 &&
                             by_.bind_addr(id, generic(bound)) == 0 && by_.listen(id, 1024) == 0;
      if (!listening) log_.warning("rail {}: cannot listen at {}: {}", rail.name, address.to_string(), text_of(errno));
      connection_id owned(id, {&by_});
      if (!listening) continue;
      all.push_back({static_cast<std::uint8_t>(rail.index), {address, ntohs(by_.get_src_port(id))}});
      listeners_.push_back(std::move(owned));
    }
  }
  return all;
}

void connector::requested(arrival&& event) {
  connection_id id(event.id, {&by_});
  const auto said = decode_greeting(event.data);
  if (!said || !on_asked_) {
    ++refused_;
    log_.info("refused a queue pair: {}", said ? "nobody listens" : said.error().message());
    by_.reject(event.id, nullptr, 0);
    return;
  }
  on_asked_(std::make_shared<request>(shared_from_this(), std::move(id), *said, event.terms));
}

} // namespace weft::path::verbs
