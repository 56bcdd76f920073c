#include "fabric/worker.hpp"

#include <pthread.h>

namespace weft::fabrics {
namespace {

/// Bytes the scheduler may hand to the network before arrivals get their turn.
constexpr std::uint64_t send_turn = 4 * 1024 * 1024;

} // namespace

worker::worker(std::string name, const tunables& limits)
    : work_(context_.get_executor()), rail_({limits.lane_realtime_weight, limits.lane_standard_weight,
                                             limits.lane_bulk_weight, limits.lane_background_weight}) {
  thread_ = std::thread([this, name = std::move(name)] {
    ::pthread_setname_np(::pthread_self(), name.c_str());
    context_.run();
  });
}

worker::~worker() {
  stop();
}

void worker::stop() {
  if (!thread_.joinable()) return;
  boost::asio::post(context_, [this] { context_.stop(); });
  thread_.join();
  stopped_ = true;
  while (posting_ != 0) std::this_thread::yield();
  work_.reset();
  context_.drop_handlers();
}

void worker::begin() {
  if (depth_++ == 0) now_ = clock::now();
}

void worker::end() {
  // The settling belongs to the batch: what it causes settles with it.
  if (depth_ == 1) settle();
  --depth_;
}

void worker::touch(std::shared_ptr<batched> part) {
  if (std::exchange(part->touched, true)) return;
  part->batch_began(now_);
  touched_.push_back(std::move(part));
}

void worker::settle() {
  // Completions may touch further parts: the list grows while it is worked through.
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    const auto part = touched_[i];
    part->touched = false; // an event from here on puts it behind the end of the list
    part->post_gathered();
  }
  rail_.run(send_turn);
  for (const auto& part : touched_) part->flush_channels();
  for (const auto& part : touched_) part->touched = false;
  touched_.clear();
  if (!rail_.idle() && !std::exchange(again_, true)) {
    post([this] {
      again_ = false;
      begin();
      end();
    });
  }
}

} // namespace weft::fabrics
