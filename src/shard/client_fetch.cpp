// Fetching: the ranges are cut into chunks, which are handed to the replicas as they finish; what one fails to give in
// time is fenced there and asked of another.
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

fetch_job::fetch_job(std::shared_ptr<client_core> client, std::string name, std::vector<fetch_piece> pieces, bool whole,
                     const fetch_options& options, handler_of<fetch_result> handler)
    : job(std::move(client), options.deadline, std::move(handler)), name_(std::move(name)), pieces_(std::move(pieces)),
      whole_(whole), options_(options), verify_(options.verify.value_or(client_->limits().verify)) {
  result_.verified = verify_;
}

void fetch_job::start() {
  command what{.what = verb::stat, .name = name_, .version = options_.version.value_or(id128{})};
  stop_stat_ = client_->ask_any({.what = std::move(what), .deadline = deadline_},
                                [self = shared_from_this()](links::outcome&& ended) { self->known(std::move(ended)); });
}

void fetch_job::known(links::outcome&& ended) {
  stop_stat_ = nullptr;
  if (ended_) return finish();
  if (ended.code) return fail(error(to_errc(ended.code), std::move(ended.where)));
  const auto found = decode_answer(ended.payload);
  if (!found) return fail(found.error());
  result_.version = found->version;
  result_.size = found->size;
  if (const auto cut_well = cut(); !cut_well) return fail(cut_well.error());
  uses_.resize(client_->replicas().size());
  if (chunks_.empty()) return finish();
  dispatch();
}

/// Cuts the pieces at multiples of the chunk size, so that all but ragged ends are of whole blocks.
result<void> fetch_job::cut() {
  const auto chunk_size = client_->limits().shard_chunk.value();
  for (const auto& piece : pieces_) {
    const auto bytes = piece.to.bytes();
    if (bytes.size() != piece.to.length) return error(errc::out_of_region, "a piece's memory");
    if (const auto unknown = client_->fabric().check_memory(piece.to); unknown.code() != errc{}) return unknown;
    if (whole_ && bytes.size() != result_.size) {
      return error(errc::length_mismatch,
                   fmt::format("shard '{}' has {} bytes, the buffer {}", name_, result_.size, bytes.size()));
    }
    if (piece.offset > result_.size || bytes.size() > result_.size - piece.offset) {
      return error(errc::out_of_region, fmt::format("bytes {} to {} of shard '{}', which has {}", piece.offset,
                                                    piece.offset + bytes.size(), name_, result_.size));
    }
    for (std::uint64_t at = 0; at < bytes.size();) {
      const auto offset = piece.offset + at;
      const auto length = std::min<std::uint64_t>(bytes.size() - at, chunk_size - offset % chunk_size);
      chunks_.push_back({offset, length, bytes.subspan(at, length), piece.to.owner, {}, {}});
      at += length;
    }
  }
  for (std::size_t i = chunks_.size(); i-- > 0;) waiting_.push_back(i);
  return {};
}

bool fetch_job::may_give(std::size_t replica, const chunk& wanted) const {
  const auto& refused = wanted.refused_by;
  return uses_[replica].now != standing::lost && std::find(refused.begin(), refused.end(), replica) == refused.end();
}

/// The replica that has the least under way among the best that may give this chunk.
std::optional<std::size_t> fetch_job::choose(const chunk& wanted) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (!may_give(i, wanted)) continue;
    const bool better = !best || uses_[i].now < uses_[*best].now ||
                        (uses_[i].now == uses_[*best].now && uses_[i].bytes < uses_[*best].bytes);
    if (better) best = i;
  }
  return best;
}

/// Whether no better replica is left for this chunk.
bool fetch_job::is_last(std::size_t replica, const chunk& wanted) const {
  for (std::size_t i = 0; i < uses_.size(); ++i) {
    if (i != replica && uses_[i].now == standing::good && may_give(i, wanted)) return false;
  }
  return true;
}

void fetch_job::dispatch() {
  const auto window = client_->limits().shard_window.value();
  while (!ended_ && !waiting_.empty()) {
    auto& next = chunks_[waiting_.back()];
    if (flying_ > 0 && flying_bytes_ + next.length > window) return;
    const auto from = choose(next);
    if (!from) return fail(next.failure);
    const auto index = waiting_.back();
    waiting_.pop_back();
    ask(index, *from);
  }
}

void fetch_job::ask(std::size_t index, std::size_t from) {
  auto& wanted = chunks_[index];
  ++flying_;
  flying_bytes_ += wanted.length;
  uses_[from].bytes += wanted.length;
  // With another replica at hand a silent one is left soon; the last one gets the patience of any transfer.
  const bool patient = is_last(from, wanted);
  command what{.what = verb::read, .name = name_, .version = result_.version, .offset = wanted.offset};
  cancellers_[index] =
      client_->ask(from,
                   {.kind = wire::operation_kind::read,
                    .what = std::move(what),
                    .carries = options_.lane,
                    .verify = verify_,
                    .pieces = memory::piece_list(wanted.to, wanted.owner),
                    .deadline = deadline_,
                    .by_deadline = options_.deadline.has_value(),
                    .stall = patient ? client_->limits().stall_default : client_->limits().shard_stall},
                   [self = shared_from_this(), index, from, patient](links::outcome&& ended) {
                     self->arrived(index, from, patient, std::move(ended));
                   });
}

void fetch_job::arrived(std::size_t index, std::size_t from, bool patient, links::outcome&& ended) {
  const auto length = chunks_[index].length;
  --flying_;
  flying_bytes_ -= length;
  uses_[from].bytes -= length;
  cancellers_.erase(index);
  if (ended_) {
    if (flying_ == 0) finish();
    return;
  }
  if (ended.code) return refused(index, from, patient, ended);
  result_.bytes += length;
  if (waiting_.empty() && flying_ == 0) return finish();
  dispatch();
}

void fetch_job::refused(std::size_t index, std::size_t from, bool patient, const links::outcome& ended) {
  auto& wanted = chunks_[index];
  const auto code = to_errc(ended.code);
  const auto& address = client_->replicas()[from].address;
  // Of this operation, that is; a connection attempt has a deadline of its own.
  if (code == errc::deadline_exceeded && clock::now() >= deadline_) {
    return fail(error(code, fmt::format("{}: {}", address, ended.where)));
  }
  keep_more_telling(wanted.failure, code, address, ended.where);
  // A replica whose blocks are bad here or there still serves the others, and one that stalled may be all that is left;
  // one that is gone or without the shard is not asked again.
  if (code == errc::checksum_mismatch) {
    wanted.refused_by.push_back(from);
  } else if (code == errc::peer_unresponsive && !patient) {
    uses_[from].now = std::max(uses_[from].now, standing::slow);
  } else {
    uses_[from].now = standing::lost;
  }
  client_->fabric().log().info("shard '{}' at {}: {}", name_, wanted.offset, wanted.failure.message());
  ++result_.moved;
  waiting_.push_back(index);
  dispatch();
}

/// Ends with an error, after the fences of what is under way.
void fetch_job::fail(const error& why) {
  if (ended_) return;
  ended_ = true;
  code_ = why.code();
  result_.where = why.where();
  if (stop_stat_) stop_stat_(); // its answer ends the job
  for (const auto& [index, cancel] : cancellers_) cancel();
  if (flying_ == 0 && !stop_stat_) finish();
}

void fetch_job::finish() {
  ended_ = true;
  done_(code_, std::move(result_));
}

} // namespace weft::shards
