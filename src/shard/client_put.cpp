// Putting: every replica gets its copy at its own pace, each by begin, chunks, commit.
#include "base/crc32c.hpp"
#include "fabric/link_core.hpp"
#include "shard/client_jobs.hpp"

#include <fmt/format.h>

namespace weft::shards {

put_job::put_job(std::shared_ptr<client_core> client, std::string name, region_view from, const put_options& options,
                 handler_of<put_result> handler)
    : job(std::move(client), options.deadline, std::move(handler)), name_(std::move(name)), from_(std::move(from)),
      bytes_(from_.bytes()), options_(options) {
  manifest_.size = bytes_.size();
  manifest_.block_crcs.resize(block_count(bytes_.size()));
  result_.version = manifest_.version = options.version ? *options.version : random_id();
}

void put_job::start() {
  for (const auto& each : client_->replicas()) result_.copies.push_back({each.address, false, false, {}, {}});
  copies_.resize(result_.copies.size());
  if (bytes_.size() != from_.length) return fail_all(error(errc::out_of_region, "the memory to put"));
  if (const auto unknown = client_->fabric().check_memory(from_); unknown.code() != errc{}) return fail_all(unknown);
  if (options_.min_copies > copies_.size() || copies_.empty()) {
    return fail_all(error(errc::invalid_argument,
                          fmt::format("min_copies {} of {} replicas", options_.min_copies, copies_.size())));
  }
  for (std::size_t i = 0; i < copies_.size(); ++i) begin(i);
}

std::span<const std::uint32_t> put_job::crcs(std::uint64_t first, std::uint64_t count) {
  for (; computed_ < first + count; ++computed_) {
    const auto at = computed_ * block_size;
    manifest_.block_crcs[computed_] = crc32c(bytes_.subspan(at, std::min(block_size, bytes_.size() - at)));
  }
  return std::span(manifest_.block_crcs).subspan(first, count);
}

void put_job::ask(std::size_t to, asking what, std::uint64_t bytes, std::function<void(links::outcome&&)> then) {
  auto& each = copies_[to];
  const auto flight = next_flight_++;
  ++each.flying;
  each.flying_bytes += bytes;
  what.deadline = deadline_;
  what.by_deadline = options_.deadline.has_value();
  each.cancellers[flight] = client_->ask(
      to, std::move(what), [self = shared_from_this(), to, bytes, flight, then = std::move(then)](auto&& ended) {
        auto& mine = self->copies_[to];
        --mine.flying;
        mine.flying_bytes -= bytes;
        mine.cancellers.erase(flight);
        if (mine.ended) return self->end_copy(to);
        if (ended.code) return self->fail_copy(to, std::move(ended));
        then(std::move(ended));
      });
}

void put_job::begin(std::size_t to) {
  copies_[to].number = client_->next_put();
  command what{.what = verb::put_begin,
               .name = name_,
               .version = manifest_.version,
               .number = copies_[to].number,
               .offset = manifest_.size};
  ask(to, {.what = std::move(what)}, 0,
      [self = shared_from_this(), to](links::outcome&& ended) { self->begun(to, std::move(ended)); });
}

void put_job::begun(std::size_t to, links::outcome&& ended) {
  const auto answered = decode_answer(ended.payload);
  if (!answered) return fail_copy(to, {.code = errc::protocol_error, .where = answered.error().where()});
  auto& each = copies_[to];
  each.comparing = answered->size != 0;
  advance(to);
}

void put_job::advance(std::size_t to) {
  auto& each = copies_[to];
  const auto share =
      std::max(client_->limits().shard_window.value() / copies_.size(), client_->limits().shard_chunk.value());
  while (!each.ended && each.next < manifest_.size && (each.flying == 0 || each.flying_bytes < share)) {
    each.comparing ? send_compare(to) : send_chunk(to);
  }
  if (!each.ended && each.next == manifest_.size && each.flying == 0) commit(to);
}

void put_job::send_chunk(std::size_t to) {
  auto& each = copies_[to];
  const auto offset = each.next;
  const auto length = std::min(client_->limits().shard_chunk.value(), manifest_.size - offset);
  each.next += length;
  const auto of_chunk = crcs(offset / block_size, block_count(length));
  const auto slice_size = client_->limits().slice_size.value();
  command what{
      .what = verb::put_chunk, .number = each.number, .offset = offset, .crcs = {of_chunk.begin(), of_chunk.end()}};
  ask(to,
      {.kind = wire::operation_kind::write,
       .what = std::move(what),
       .carries = options_.lane,
       .pieces = memory::piece_list(bytes_.subspan(offset, length), from_.owner),
       .slice_crcs = manifest_.slice_crcs(offset, length, slice_size),
       .stall = client_->limits().stall_default},
      length, [self = shared_from_this(), to](links::outcome&&) { self->advance(to); });
}

void put_job::send_compare(std::size_t to) {
  auto& each = copies_[to];
  const auto offset = each.next;
  // Whole blocks: the next comparison begins where this one ends.
  const auto most =
      std::min<std::uint64_t>(client_->limits().shard_window.value() / block_size, most_crcs) * block_size;
  const auto length = std::min(most, manifest_.size - offset);
  each.next += length;
  const auto first = offset / block_size;
  const auto of_range = crcs(first, block_count(length));
  command what{
      .what = verb::put_compare, .number = each.number, .offset = first, .crcs = {of_range.begin(), of_range.end()}};
  ask(to, {.what = std::move(what)}, length, [self = shared_from_this(), to](links::outcome&&) { self->advance(to); });
}

void put_job::commit(std::size_t to) {
  result_.copies[to].placed = true;
  command what{.what = verb::put_commit, .number = copies_[to].number};
  ask(to, {.what = std::move(what)}, 0, [self = shared_from_this(), to](links::outcome&&) {
    self->result_.copies[to].durable = true;
    self->end_copy(to);
  });
}

void put_job::fail_copy(std::size_t to, links::outcome&& ended) {
  auto& told = result_.copies[to];
  told.code = ended.code;
  told.where = std::move(ended.where);
  keep_more_telling(failure_, to_errc(ended.code), told.address, told.where);
  end_copy(to);
}

/// Asks no more for this copy; it is over when what flies has landed.
void put_job::end_copy(std::size_t to) {
  auto& each = copies_[to];
  if (!std::exchange(each.ended, true)) {
    for (const auto& [flight, cancel] : each.cancellers) cancel();
    // Also when its begin was not answered yet. What was begun on a link that has ended, ended with it.
    const auto& link = client_->replicas()[to].link;
    if (!result_.copies[to].durable && link && link->alive()) {
      command what{.what = verb::put_abandon, .number = each.number};
      client_->ask(
          to, {.what = std::move(what), .deadline = deadline_after(clock::now(), client_->limits().connect_timeout)},
          [](links::outcome&&) {});
    }
  }
  finish_if_over();
}

void put_job::fail_all(const error& why) {
  if (completed_) return;
  failure_ = why;
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    if (!copies_[i].ended) {
      result_.copies[i].code = why.code();
      end_copy(i);
    }
  }
  finish_if_over();
}

void put_job::finish_if_over() {
  if (completed_) return;
  std::uint32_t durable = 0;
  for (std::size_t i = 0; i < copies_.size(); ++i) {
    if (!copies_[i].ended || copies_[i].flying > 0) return;
    durable += result_.copies[i].durable ? 1 : 0;
  }
  completed_ = true;
  const auto wanted = options_.min_copies == 0 ? copies_.size() : options_.min_copies;
  error_code code;
  if (durable < wanted || copies_.empty()) {
    // Of several copies "too few" is the error, and each copy tells its own; of one, its own.
    const bool too_few = durable > 0;
    code = too_few ? error_code(errc::not_enough_copies) : error_code(failure_.code());
    result_.where = too_few ? fmt::format("{} of {} copies are durable; {}", durable, wanted, failure_.message())
                            : failure_.where();
  }
  done_(code, std::move(result_));
}

} // namespace weft::shards
