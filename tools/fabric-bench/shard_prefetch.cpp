// Whichever buffer is free takes the next part.
#include "fabric-bench/shard_prefetch.hpp"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

#include <algorithm>

namespace weft::tools {

shard_prefetch::shard_prefetch(shard_client client, std::vector<shard_info> shards, region window, std::uint64_t part,
                               fetch_options options, boost::asio::any_io_executor executor)
    : client_(std::move(client)), shards_(std::move(shards)), window_(std::move(window)), part_(part),
      options_(options), executor_(std::move(executor)) {}

std::future<prefetch_count> shard_prefetch::run() {
  auto ended = promise_.get_future();
  boost::asio::post(executor_, [this, self = shared_from_this()] {
    begin_ = clock::now();
    in_flight_ = window_.size() / part_;
    for (std::uint64_t buffer = 0, buffers = in_flight_; buffer < buffers; ++buffer) fill(buffer);
  });
  return ended;
}

std::optional<shard_prefetch::part> shard_prefetch::next_part() {
  while (shard_ < shards_.size() && offset_ == shards_[shard_].size) {
    ++shard_;
    offset_ = 0;
  }
  if (shard_ == shards_.size() || count_.errors > 0) return std::nullopt;
  const auto& shard = shards_[shard_];
  const part next{&shard, offset_, std::min(part_, shard.size - offset_)};
  offset_ += next.length;
  return next;
}

void shard_prefetch::fill(std::uint64_t buffer) {
  const auto next = next_part();
  if (!next) {
    if (--in_flight_ == 0) promise_.set_value(std::move(count_));
    return;
  }
  auto options = options_;
  options.version = next->shard->version;
  std::vector<fetch_piece> pieces = {{next->offset, window_.sub(buffer * part_, next->length)}};
  client_.fetch(next->shard->name, std::move(pieces), options,
                boost::asio::bind_executor(executor_, [this, self = shared_from_this(), buffer, fetched = *next,
                                                       sent = clock::now()](error_code code, const fetch_result& done) {
                  complete(buffer, fetched, sent, code, done);
                }));
}

void shard_prefetch::complete(std::uint64_t buffer, const part& fetched, clock::time_point sent, error_code code,
                              const fetch_result& done) {
  const auto now = clock::now();
  count_.elapsed = now - begin_;
  if (code || done.bytes != fetched.length) {
    const auto failure = code ? error{to_errc(code), done.where.empty() ? fetched.shard->name : done.where}
                              : error{errc::length_mismatch, fetched.shard->name};
    if (count_.errors++ == 0) count_.first_error = failure.message();
  } else {
    ++count_.parts;
    count_.bytes += done.bytes;
    count_.moved += done.moved;
    count_.checked = count_.checked && done.verified == verify_mode::slice;
    count_.latencies.record(now - sent);
  }
  fill(buffer);
}

} // namespace weft::tools
