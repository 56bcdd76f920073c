#include "path/verbs/queues.hpp"

#include "path/verbs/channel.hpp"

#include <boost/asio/post.hpp>

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace weft::path::verbs {
namespace {

/// In a request's number: it is a receive, and the rest is its slot.
constexpr std::uint64_t receive_bit = std::uint64_t{1} << 63;

} // namespace

queues::queues(const rail& on, boost::asio::any_io_executor thread) : rail_(on), by_(on.by), wake_(std::move(thread)) {}

queues::~queues() {
  // The descriptor is the completion channel's.
  if (wake_.is_open()) wake_.release();
}

result<std::shared_ptr<queues>> queues::open(const rail& on, boost::asio::any_io_executor thread,
                                             const tunables& limits) {
  std::shared_ptr<queues> opened(new queues(on, std::move(thread)));
  if (const auto created = opened->create(limits); !created) return created.error();
  opened->wait_for_event();
  return opened;
}

result<void> queues::create(const tunables& limits) {
  const auto failed = [this](const char* what) {
    const int code = errno;
    return error(code == ENOMEM ? errc::out_of_memory : errc::os_failure,
                 fmt::format("rail {}: {}: {}", rail_.name, what, std::strerror(code)));
  };
  // Beyond those that peers may use there are as many as wait to be posted again at most.
  constexpr std::uint32_t waiting = most_at_once;
  const auto posted =
      std::min(limits.verbs_receive_slots + waiting, static_cast<std::uint32_t>(rail_.device.max_srq_wr));
  slots_ = posted - std::min(posted, waiting);
  credits_ = slots_;
  const std::size_t receive_bytes = posted * slot_size;
  const std::size_t send_bytes = limits.verbs_send_slots * slot_size;
  memory_.resize(receive_bytes + send_bytes);
  receive_memory_ = {by_.reg_mr(rail_.domain.get(), memory_.data(), receive_bytes, IBV_ACCESS_LOCAL_WRITE), {&by_}};
  if (!receive_memory_) return failed("registering receive slots");
  send_memory_ = {by_.reg_mr(rail_.domain.get(), memory_.data() + receive_bytes, send_bytes, 0), {&by_}};
  if (!send_memory_) return failed("registering send slots");
  send_slots_ = limits.verbs_send_slots;
  for (std::size_t at = 0; at < send_bytes; at += slot_size) {
    free_send_slots_.push_back(memory_.data() + receive_bytes + at);
  }
  events_ = {by_.create_comp_channel(rail_.context), {&by_}};
  if (!events_) return failed("create_comp_channel");
  ::fcntl(events_->fd, F_SETFL, ::fcntl(events_->fd, F_GETFL) | O_NONBLOCK);
  error_code refused;
  wake_.assign(events_->fd, refused);
  if (refused) return error(errc::os_failure, fmt::format("rail {}: {}", rail_.name, refused.message()));
  reserved_ = posted;
  capacity_ = std::min(posted + 4 * limits.verbs_send_depth, static_cast<std::uint32_t>(rail_.device.max_cqe));
  completions_ = {by_.create_cq(rail_.context, static_cast<int>(capacity_), nullptr, events_.get(), 0), {&by_}};
  if (!completions_) return failed("create_cq");
  ibv_srq_init_attr wanted{};
  wanted.attr.max_wr = posted;
  wanted.attr.max_sge = 1;
  receives_ = {by_.create_srq(rail_.domain.get(), &wanted), {&by_}};
  if (!receives_) return failed("create_srq");
  for (std::uint32_t slot = 0; slot < posted; ++slot) used_.push_back(slot);
  post_receives();
  if (broken_) return failed("post_srq_recv");
  return {};
}

void queues::break_down(const std::string& why) {
  if (broken_.exchange(true)) return;
  boost::asio::post(wake_.get_executor(), [weak = weak_from_this(), why] {
    const auto self = weak.lock();
    if (!self) return;
    self->why_broken_ = fmt::format("rail {}: {}", self->rail_.name, why);
    std::vector<std::shared_ptr<channel>> all;
    for (const auto& [pair, each] : self->channels_) all.push_back(each->shared_from_this());
    for (const auto& each : all) each->device_failed(self->why_broken_);
  });
}

void queues::add(std::uint32_t pair, channel& to) {
  channels_[pair] = &to;
  if (why_broken_.empty()) return;
  boost::asio::post(wake_.get_executor(),
                    [late = to.shared_from_this(), why = why_broken_] { late->device_failed(why); });
}

/// Posts the slots of used_.
void queues::post_receives() {
  std::array<ibv_recv_wr, most_at_once> requests;
  std::array<ibv_sge, most_at_once> places;
  for (std::size_t from = 0; from < used_.size();) {
    const auto count = std::min(used_.size() - from, most_at_once);
    for (std::size_t i = 0; i < count; ++i) {
      const auto slot = used_[from + i];
      places[i] = {reinterpret_cast<std::uintptr_t>(memory_.data() + slot * slot_size), slot_size,
                   receive_memory_->lkey};
      requests[i] = {.wr_id = receive_bit | slot,
                     .next = i + 1 < count ? &requests[i + 1] : nullptr,
                     .sg_list = &places[i],
                     .num_sge = 1};
    }
    ibv_recv_wr* bad = nullptr;
    // There is a place in the queue for every slot: it cannot be full.
    if (const int code = by_.post_srq_recv(receives_.get(), requests.data(), &bad); code != 0) {
      errno = code;
      break_down(fmt::format("post_srq_recv: {}", std::strerror(code)));
      break;
    }
    from += count;
  }
  used_.clear();
}

bool queues::reserve(std::uint32_t sends) {
  if (broken_) return false;
  const auto lent = lend(least_credits);
  if (lent < least_credits) {
    give_back(lent);
    return false;
  }
  const std::lock_guard lock(mutex_);
  if (reserved_ + sends > capacity_) {
    const auto larger =
        std::min<std::uint64_t>(2 * std::uint64_t{capacity_}, static_cast<std::uint32_t>(rail_.device.max_cqe));
    if (reserved_ + sends > larger || by_.resize_cq(completions_.get(), static_cast<int>(larger)) != 0) {
      give_back(lent);
      return false;
    }
    capacity_ = static_cast<std::uint32_t>(larger);
  }
  reserved_ += sends;
  ++pairs_;
  return true;
}

void queues::release(std::uint32_t sends, std::uint32_t credits) {
  give_back(credits);
  --pairs_;
  const std::lock_guard lock(mutex_);
  reserved_ -= sends;
}

std::uint32_t queues::lend(std::uint32_t wanted, std::uint32_t kept) noexcept {
  auto free = credits_.load(std::memory_order_relaxed);
  const auto lent = [&] { return std::min(wanted, free > kept ? free - kept : 0); };
  while (!credits_.compare_exchange_weak(free, free - lent())) {
  }
  return lent();
}

std::uint32_t queues::fair_share() const noexcept {
  // Half of the slots stay for those who come later.
  return std::max(least_credits, slots_ / (2 * std::max(pairs_.load(), std::uint32_t{1})));
}

std::byte* queues::take_send_slot(std::size_t held) noexcept {
  // A peer that acknowledges nothing does not keep the others waiting.
  if (free_send_slots_.empty() || held >= std::max<std::size_t>(send_slots_ / 4, 1)) return nullptr;
  auto* slot = free_send_slots_.back();
  free_send_slots_.pop_back();
  return slot;
}

void queues::wake_starved() {
  if (starved_.empty() || free_send_slots_.empty()) return;
  for (const auto& each : std::exchange(starved_, {})) {
    if (const auto waiting = each.lock()) waiting->wake();
  }
}

bool queues::fetch() {
  if (fetched_count_ > 0) return true;
  // Not sooner: whoever was delivered something answers first.
  if (!used_.empty()) post_receives();
  const int count = by_.poll_cq(completions_.get(), static_cast<int>(fetched_.size()), fetched_.data());
  if (count < 0 && !broken_) break_down(fmt::format("poll_cq: {}", std::strerror(errno)));
  fetched_count_ = count > 0 ? static_cast<std::size_t>(count) : 0;
  return fetched_count_ > 0;
}

void queues::deliver() {
  const auto count = std::exchange(fetched_count_, 0);
  const auto here = shared_from_this(); // the last channel may go
  for (std::size_t i = 0; i < count; ++i) {
    const auto& completion = fetched_[i];
    const auto found = channels_.find(completion.qp_num);
    auto* to = found == channels_.end() ? nullptr : found->second;
    if ((completion.wr_id & receive_bit) == 0) {
      if (to != nullptr) to->completed(completion);
      continue;
    }
    const auto slot = static_cast<std::uint32_t>(completion.wr_id & ~receive_bit);
    if (to != nullptr && completion.status == IBV_WC_SUCCESS) {
      to->arrived({memory_.data() + slot * slot_size, completion.byte_len}, completion);
    } else if (to != nullptr) {
      to->failed(completion);
    }
    used_.push_back(slot);
  }
  wake_starved();
}

std::size_t queues::capacity() {
  const std::lock_guard lock(mutex_);
  return capacity_;
}

bool queues::arm() {
  if (std::exchange(armed_, true)) return true;
  if (const int code = by_.req_notify_cq(completions_.get(), 0); code != 0) {
    break_down(fmt::format("req_notify_cq: {}", std::strerror(code)));
  }
  // What came before the request would wake nobody.
  return !fetch();
}

void queues::wait_for_event() {
  wake_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [weak = weak_from_this()](const error_code& code) {
    const auto self = weak.lock();
    if (!self || code) return;
    ibv_cq* of = nullptr;
    void* owner = nullptr;
    while (self->by_.get_cq_event(self->events_.get(), &of, &owner) == 0) {
      self->by_.ack_cq_events(of, 1);
    }
    self->armed_ = false;
    self->wait_for_event();
  });
}

} // namespace weft::path::verbs
