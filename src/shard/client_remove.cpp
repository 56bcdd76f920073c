// Removing: every replica drops its copy. One that has none is no failure, as long as another one had it.
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

void remove_job::start() {
  running_ = client_->replicas().size();
  for (const auto& each : client_->replicas()) result_.copies.push_back({.address = each.address});
  stop_ = client_->ask_all(
      {.what = {.what = verb::remove, .name = name_, .version = version_}, .deadline = deadline_},
      [self = shared_from_this()](std::size_t of, links::outcome&& ended) { self->answered(of, std::move(ended)); });
  if (running_ == 0) done_.later(errc::invalid_argument, std::move(result_));
}

void remove_job::answered(std::size_t of, links::outcome&& ended) {
  auto& told = result_.copies[of];
  told.code = ended.code;
  told.where = std::move(ended.where);
  if (!told.code) {
    removed_ = told.removed = true;
  } else if (failure_.code() == errc{} || failure_ == errc::not_found ||
             (told.code != errc::not_found && more_telling(to_errc(told.code), failure_.code()))) {
    failure_ = error(to_errc(told.code), fmt::format("{}: {}", told.address, told.where));
  }
  if (--running_ > 0) return;
  if (removed_ && failure_ == errc::not_found) failure_ = {};
  result_.where = failure_.where();
  done_(failure_.code() == errc{} ? error_code{} : error_code(failure_.code()), std::move(result_));
}

} // namespace weft::shards
