// Verifying: every replica reads its copy and says which blocks are bad.
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

void verify_job::start() {
  running_ = client_->replicas().size();
  for (std::size_t i = 0; i < running_; ++i) {
    result_.copies.push_back({.address = client_->replicas()[i].address});
    cancellers_.push_back(
        client_->ask(i, {.what = {.what = verb::verify, .name = name_}, .deadline = deadline_},
                     [self = shared_from_this(), i](links::outcome&& ended) { self->answered(i, std::move(ended)); }));
  }
  if (running_ == 0) done_.later(errc::invalid_argument, std::move(result_));
}

void verify_job::cancel() {
  for (const auto& stop : cancellers_) stop();
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
