// The open loop and the closed one. Requests that were due during the warm-up are not counted.
#include "fabric-bench/request_load.hpp"

#include "fabric-bench/pattern.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>
#include <cstring>

namespace weft::tools {
namespace {

constexpr unsigned most_at_once = 32;            ///< requests sent without a look at what else there is to do
constexpr std::uint64_t most_outstanding = 4096; ///< more of them would only measure memory

} // namespace

request_load::request_load(link to, request_plan plan, boost::asio::any_io_executor own)
    : link_(std::move(to)), plan_(plan), own_(std::move(own)), executor_(own_ ? own_ : link_.executor(plan.lane)),
      timer_(executor_), payload_(static_cast<std::size_t>(plan.size)) {
  fill_pattern(payload_, plan.size);
}

std::future<request_count> request_load::run() {
  auto ended = promise_.get_future();
  boost::asio::post(executor_, [this, self = shared_from_this()] {
    begin_ = clock::now();
    measured_from_ = begin_ + plan_.warm_up;
    end_ = measured_from_ + plan_.duration;
    if (plan_.rate > 0) {
      send_due();
    } else {
      for (std::uint32_t i = 0; i < plan_.depth && !finished(begin_); ++i) send(begin_);
    }
  });
  return ended;
}

void request_load::stop() {
  boost::asio::post(executor_, [this, self = shared_from_this()] {
    if (ended_) return;
    end_ = std::min(end_, clock::now());
    timer_.cancel();
    if (plan_.rate > 0) sending_ = false;
    end_if_idle();
  });
}

bool request_load::finished(clock::time_point next) const noexcept {
  if (count_.errors > 0 || next >= end_) return true;
  return plan_.iterations > 0 && sent_ >= plan_.iterations;
}

void request_load::send_due() {
  for (unsigned turn = 0; sending_ && turn < most_at_once; ++turn) {
    // From the number sent, not from the last time, so that the rate does not drift.
    const auto due = begin_ + std::chrono::duration_cast<clock::duration>(
                                  std::chrono::duration<double>(static_cast<double>(sent_) / plan_.rate));
    const auto now = clock::now();
    // What was due before the end and could not be sent by then is never sent: it counts as not achieved.
    if (finished(due) || now >= end_) {
      sending_ = false;
      return end_if_idle();
    }
    held_ = outstanding_ >= most_outstanding;
    if (held_) return;
    if (due > now) return wait_until(due);
    send(due);
  }
  // The thread has other work too: answers, for one.
  boost::asio::post(executor_, [this, self = shared_from_this()] { send_due(); });
}

void request_load::wait_until(clock::time_point due) {
  timer_.expires_at(due);
  timer_.async_wait([this, self = shared_from_this()](error_code code) {
    if (!code) send_due();
  });
}

void request_load::send(clock::time_point due) {
  ++sent_;
  ++outstanding_;
  const request_options options{.lane = plan_.lane};
  auto handler = [this, self = shared_from_this(), due](error_code code, const response& answer) {
    complete(due, code, answer);
  };
  if (!own_) return link_.request(payload_, options, std::move(handler));
  link_.request(payload_, options, boost::asio::bind_executor(own_, std::move(handler)));
}

void request_load::complete(clock::time_point due, error_code code, const response& answer) {
  const auto now = clock::now();
  --outstanding_;
  // Not ==: of std::byte the library compares one at a time.
  const bool echoed = !code && answer.payload.size() == payload_.size() &&
                      std::memcmp(answer.payload.data(), payload_.data(), payload_.size()) == 0;
  if (!echoed) {
    const auto failure = code ? error{to_errc(code), answer.where} : error{errc::checksum_mismatch, "the echo differs"};
    if (count_.errors++ == 0) count_.first_error = failure.message();
  } else if (due >= measured_from_) {
    ++count_.operations;
    count_.latencies.record(now - due);
    if (now <= end_ + plan_.grace) ++count_.in_time;
    count_.elapsed = std::min(now, end_) - measured_from_;
  }
  if (plan_.rate == 0) {
    if (sending_ && !finished(now)) return send(now);
    sending_ = false;
  }
  if (held_) {
    held_ = false;
    return send_due();
  }
  end_if_idle();
}

void request_load::end_if_idle() {
  if (ended_ || sending_ || outstanding_ > 0) return;
  ended_ = true;
  promise_.set_value(std::move(count_));
}

} // namespace weft::tools
