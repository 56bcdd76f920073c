// Verifying: what a replica's report says of its copy.
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

void verify_job::succeeded(verify_copy& of, verify_result& all, std::span<const std::byte> payload) {
  auto report = decode_answer(payload);
  if (!report) {
    of.code = report.error().code();
    return;
  }
  all.version = report->version;
  of.blocks = report->size;
  of.bad_blocks = std::move(report->bad_blocks);
  if (of.bad_blocks.empty()) return;
  of.code = errc::checksum_mismatch;
  of.where = fmt::format("stored: {} bad of {} blocks, the first is {}", of.bad_blocks.size(), of.blocks,
                         of.bad_blocks.front());
}

} // namespace weft::shards
