// How a channel ends: what its device, its peer or nobody tells, and the fence.
#include "path/verbs/channel.hpp"

#include <boost/asio/post.hpp>

#include <fmt/format.h>

namespace weft::path::verbs {

namespace {

/// So many in a row that find nothing new are a silence: it lasts for the limit, or a part more.
constexpr unsigned looks_at_silence = 4;

} // namespace

/// A queue pair of which the device tells nothing for so long counts as lost: it hangs. (rxe of Linux 6.1 does so over
/// a network interface that has ceased to send, and neither sends again nor gives up.) One wait at a time, begun by
/// what is posted when there is none, so that it costs nothing for each request. `looks`: that found nothing new.
void channel::watch(unsigned looks) {
  watched_ = true;
  timer_.expires_after(silence_limit_ / looks_at_silence);
  timer_.async_wait([weak = weak_from_this(), before = completed_, looks](const error_code& code) {
    const auto self = weak.lock();
    if (code || !self) return;
    self->in_batch([&] { self->judge(before, looks + 1); });
  });
}

/// By what the device has told by now, whether this thread came to read it or not.
void channel::judge(std::uint64_t before, unsigned looks) {
  const auto silent = [&] { return state_ == state::open && completed_ == before && completed_ < signalled_; };
  queues_->catch_up(silent);
  if (state_ != state::open) return;
  watched_ = false;
  if (completed_ >= signalled_) return probe();
  if (completed_ > before) return watch();
  if (looks < looks_at_silence) return watch(looks);
  fail(errc::path_failed,
       fmt::format("rail {}, queue pair {} to {}: the device tells nothing of {} requests", queues_->on().name,
                   endpoint_->pair->qp_num, endpoint_->peer_address, posted_ - completed_));
}

/// What was posted behind the last request that reports its end may be stuck as well: one that writes nothing asks.
/// (The key of such a WRITE is not looked at, IBA 9.7.4.1.5.)
void channel::probe() {
  if (completed_ == posted_) return;
  next_request().opcode = IBV_WR_RDMA_WRITE;
  post_batch();
}

void channel::fail(errc code, std::string why) {
  if (state_ == state::fencing || state_ == state::closed) return;
  driver_.channel_failed(place_, epoch_, error(code, std::move(why)));
}

void channel::device_failed(const std::string& why) {
  in_batch([&] { fail(errc::path_failed, why); });
}

namespace {

/// Whose fault it is that a request ended with this: what to look at. Statuses: InfiniBand Architecture Specification,
/// volume 1, 11.6.2.
std::string_view fault_of(ibv_wc_status status) noexcept {
  switch (status) {
    case IBV_WC_LOC_LEN_ERR:
    case IBV_WC_LOC_QP_OP_ERR:
    case IBV_WC_LOC_EEC_OP_ERR:
    case IBV_WC_LOC_PROT_ERR:
    case IBV_WC_MW_BIND_ERR:
    case IBV_WC_LOC_ACCESS_ERR:
    case IBV_WC_LOC_RDD_VIOL_ERR: return "; this is a fault of this end";
    case IBV_WC_BAD_RESP_ERR:
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_REM_INV_REQ_ERR:
    case IBV_WC_REM_OP_ERR:
    case IBV_WC_REM_INV_RD_REQ_ERR:
    case IBV_WC_REM_ABORT_ERR:
    case IBV_WC_RNR_RETRY_EXC_ERR: return "; the peer did not take it";
    default: return ""; // the way there
  }
}

} // namespace

std::string channel::describe(const ibv_wc& completion) const {
  return fmt::format("rail {}, GID index {}, queue pair {} to {}: {} (vendor error {:#x}){}", queues_->on().name,
                     endpoint_->gid_index, completion.qp_num, endpoint_->peer_address,
                     ibv_wc_status_str(completion.status), completion.vendor_err, fault_of(completion.status));
}

bool channel::close() {
  if (state_ == state::closed) return true;
  if (!attached_) { // the peer could not use it yet
    state_ = state::closed;
    const auto depth = endpoint_->send_depth;
    dispose_(std::move(endpoint_), [shared = queues_, depth] { shared->release(depth, queues::least_credits); });
    return true;
  }
  if (state_ != state::fencing) begin_fence();
  return false;
}

void channel::begin_fence() {
  state_ = state::fencing;
  batched_ = 0; // numbered, but never posted: the fence does not wait for them
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  if (by_.modify_qp(endpoint_->pair.get(), &attributes, IBV_QP_STATE) != 0) return end_soon(); // nothing is flushed
  // Requests are flushed in their order: when this one is, all are.
  ibv_send_wr last{};
  last.wr_id = last_flushed_ = ++posted_;
  last.opcode = IBV_WR_SEND;
  last.send_flags = IBV_SEND_SIGNALED;
  ibv_send_wr* bad = nullptr;
  flushed_ = by_.post_send(endpoint_->pair.get(), &last, &bad) != 0;
  timer_.expires_after(fence_limit_);
  timer_.async_wait([self = shared_from_this()](const error_code& code) {
    // A device that does not say: destroying the queue pair, which waits for it, is a fence too.
    if (!code) self->in_batch([&self] { self->drain_and_end(); });
  });
}

void channel::try_end_fence() {
  if (state_ != state::fencing || !flushed_ || !last_receive_known_) return;
  end_soon();
}

/// Not at once: this may be inside the delivery of what the queue holds. To destroy the queue pair is a fence, too.
void channel::end_soon() {
  boost::asio::post(timer_.get_executor(),
                    [self = shared_from_this()] { self->in_batch([&self] { self->drain_and_end(); }); });
}

/// Records that had arrived before the fence still count.
void channel::drain_and_end() {
  queues_->catch_up([this] { return state_ == state::fencing; });
  if (state_ == state::fencing) end_fence();
}

void channel::end_fence() {
  state_ = state::closed;
  timer_.cancel();
  const auto number = endpoint_->pair->qp_num;
  const auto depth = endpoint_->send_depth;
  first_slice_ = next_write_ = end_slice_;
  dispose_(std::move(endpoint_), [self = shared_from_this(), number, depth] {
    self->queues_->remove(number);
    self->queues_->release(depth, self->owned_);
    for (; self->slot_count_ > 0; --self->slot_count_) {
      self->queues_->return_send_slot(self->slots_[self->first_slot_].slot);
      self->first_slot_ = (self->first_slot_ + 1) % self->slots_.size();
    }
    self->queues_->wake_starved();
    self->driver_.batch_begins();
    self->driver_.channel_closed(self->place_, self->epoch_);
    self->driver_.batch_ends();
  });
}

} // namespace weft::path::verbs
