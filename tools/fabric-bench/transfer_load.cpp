// The closed loop of transfers. What completes during the warm-up is not counted.
#include "fabric-bench/transfer_load.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

namespace weft::tools {

transfer_load::transfer_load(link to, region local, remote_region remote, transfer_plan plan,
                             boost::asio::any_io_executor executor)
    : link_(std::move(to)), local_(std::move(local)), remote_(std::move(remote)), plan_(plan),
      executor_(std::move(executor)) {}

std::future<transfer_count> transfer_load::run() {
  auto ended = promise_.get_future();
  boost::asio::post(executor_, [this, self = shared_from_this()] {
    measured_from_ = clock::now() + plan_.warm_up;
    end_ = measured_from_ + plan_.duration;
    in_flight_ = plan_.depth;
    if (plan_.iterations > 0)
      in_flight_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(in_flight_, plan_.iterations));
    for (std::uint32_t slot = 0; slot < in_flight_; ++slot) issue(slot);
  });
  return ended;
}

bool transfer_load::finished(clock::time_point now) const noexcept {
  if (count_.errors > 0) return true;
  return plan_.iterations > 0 ? issued_ >= plan_.iterations : now >= end_;
}

void transfer_load::issue(std::uint32_t slot) {
  ++issued_;
  const auto offset = plan_.first_offset + slot * plan_.size;
  const auto sent = clock::now();
  auto handler = boost::asio::bind_executor(
      executor_, [this, self = shared_from_this(), slot, sent](error_code code, const transfer_result& done) {
        complete(slot, sent, code, done);
      });
  transfer_options options;
  options.lane = plan_.lane;
  if (plan_.write) {
    link_.write(local_.sub(offset, plan_.size), remote_.sub(offset, plan_.size), options, std::move(handler));
  } else {
    link_.read(remote_.sub(offset, plan_.size), local_.sub(offset, plan_.size), options, std::move(handler));
  }
}

void transfer_load::complete(std::uint32_t slot, clock::time_point sent, error_code code, const transfer_result& done) {
  const auto now = clock::now();
  if (code) {
    if (count_.errors++ == 0) count_.first_error = error{to_errc(code), done.where}.message();
  } else if (now >= measured_from_) {
    ++count_.operations;
    count_.bytes += done.bytes;
    count_.latencies.record(now - sent);
    count_.elapsed = now - measured_from_;
  }
  if (!finished(now)) return issue(slot);
  if (--in_flight_ > 0) return;
  promise_.set_value(std::move(count_));
}

} // namespace weft::tools
