// Verifying: every replica reads its copy and says which blocks are bad.
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

void verify_job::start() {
  running_ = client_->replicas().size();
  for (const auto& each : client_->replicas()) result_.copies.push_back({.address = each.address});
  stop_ = client_->ask_all(
      {.what = {.what = verb::verify, .name = name_}, .deadline = deadline_},
      [self = shared_from_this()](std::size_t of, links::outcome&& ended) { self->answered(of, std::move(ended)); });
  if (running_ == 0) done_.later(errc::invalid_argument, std::move(result_));
}

void verify_job::answered(std::size_t of, links::outcome&& ended) {
  auto& told = result_.copies[of];
  told.code = ended.code;
  told.where = std::move(ended.where);
  if (!ended.code) {
    if (auto answer = decode_answer(ended.payload)) {
      result_.version = answer->version;
      told.blocks = answer->size;
      told.bad_blocks = std::move(answer->bad_blocks);
      if (!told.bad_blocks.empty()) {
        told.code = errc::checksum_mismatch;
        told.where = fmt::format("stored: {} bad of {} blocks, the first is {}", told.bad_blocks.size(), told.blocks,
                                 told.bad_blocks.front());
      }
    } else {
      told.code = answer.error().code();
    }
  }
  if (told.code && (failure_.code() == errc{} || more_telling(to_errc(told.code), failure_.code()))) {
    failure_ = error(to_errc(told.code), fmt::format("{}: {}", told.address, told.where));
  }
  if (--running_ > 0) return;
  result_.where = failure_.where();
  done_(failure_.code() == errc{} ? error_code{} : error_code(failure_.code()), std::move(result_));
}

} // namespace weft::shards
