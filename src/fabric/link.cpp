#include "weft/link.hpp"

#include "fabric/fabric_core.hpp"
#include "fabric/forked.hpp"
#include "fabric/region_protocol.hpp"
#include "fabric/submit.hpp"

#include <algorithm>
#include <functional>

#include <fmt/format.h>

namespace weft {
namespace {

using namespace fabrics;

/// Made where it stays: whoever asks often would move its parts about each time.
struct request_end final : links::completion {
  request_end(handler_of<response> handler, worker& thread) : done(std::move(handler), thread) {}
  void complete(links::outcome&& ended) override {
    done(ended.code, {std::move(ended.payload), ended.maybe_executed, std::move(ended.where)});
  }

  pending<response> done;
};

/// Of a transfer's pieces, those that one operation moves.
struct part_range {
  std::size_t first = 0;     ///< in the caller's list
  std::uint64_t skipped = 0; ///< bytes of that one which another operation moves
  std::uint64_t pieces = 0;
  std::uint64_t length = 0;
};

/// The operations of one transfer: all but very long ones, and very long lists of pieces, need one.
struct part_of_transfer {
  region_access access;
  memory::piece_list local;
  std::vector<run> local_runs = {}; ///< how many it has decides whether a grant can name it
  part_range moves = {};
};

/// Cuts a list of pieces into operations of at most most_runs runs, most_pieces pieces and most_bytes bytes each.
/// Errors: out_of_region.
result<std::vector<part_of_transfer>> cut(std::span<const piece> pieces, const region_view& local,
                                          const remote_view& remote, std::uint64_t most_bytes) {
  std::vector<part_of_transfer> parts(1);
  parts[0].access.region = remote.id;
  const auto bytes = local.bytes();
  if (bytes.size() != local.length) return error(errc::out_of_region, "the local view lies outside its region");
  // link::whole makes one piece of both sides, as long as the longer one.
  const bool whole = pieces.size() == 1 && pieces[0].local_offset == 0 && pieces[0].remote_offset == 0 &&
                     pieces[0].length == std::max(local.length, remote.length);
  if (whole && local.length != remote.length) {
    return error(errc::length_mismatch, fmt::format("{} bytes here, {} there", local.length, remote.length));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto& each = pieces[i];
    const bool inside = each.length <= local.length && each.local_offset <= local.length - each.length &&
                        each.length <= remote.length && each.remote_offset <= remote.length - each.length;
    if (!inside) return error(errc::out_of_region, fmt::format("piece {} of {}", i, pieces.size()));
    for (std::uint64_t done = 0;;) {
      // A piece may need a run of its own: a part is full when that would not fit.
      const bool full = parts.back().access.runs.size() == most_runs || parts.back().local_runs.size() == most_runs ||
                        parts.back().moves.pieces == most_pieces || parts.back().local.length() == most_bytes;
      if (full) {
        parts.emplace_back().access.region = remote.id;
        parts.back().moves.first = i;
        parts.back().moves.skipped = done;
      }
      auto& part = parts.back();
      const auto length = std::min(each.length - done, most_bytes - part.local.length());
      append(part.access.runs, remote.offset + each.remote_offset + done, length);
      append(part.local_runs, local.offset + each.local_offset + done, length);
      part.local.add(bytes.subspan(each.local_offset + done, length), local.owner.get());
      ++part.moves.pieces;
      done += length;
      if (done == each.length) break;
    }
  }
  for (auto& part : parts) {
    part.local.keep(local.owner);
    part.moves.length = part.local.length();
  }
  return parts;
}

/// Completes a transfer when all its operations have: the first error counts.
class transfer_end : public std::enable_shared_from_this<transfer_end> {
public:
  transfer_end(handler_of<transfer_result> handler, worker& thread, verify_mode verified)
      : done_(std::move(handler), thread) {
    sum_.verified = verified;
  }

  [[nodiscard]] auto slot() const noexcept { return done_.slot(); }

  /// It will have so many operations.
  void expect(std::size_t operations) noexcept { left_ = operations; }

  /// And one more, which `begin` starts once those have ended well.
  void expect_behind(const part_range& last, std::function<void(std::shared_ptr<transfer_end>)> begin) {
    last_ = last;
    begin_last_ = std::move(begin);
  }

  /// With a status for each piece: their lengths, in order.
  void tell_pieces(const std::vector<piece>& pieces) {
    sum_.pieces.resize(pieces.size());
    for (const auto& each : pieces) lengths_.push_back(each.length);
  }

  void ended(links::outcome&& part, const part_range& of) {
    if (part.code && !lengths_.empty()) tell_verified(part, of);
    sum_.bytes += part.bytes;
    sum_.resent += part.resent;
    if (part.code && !code_) {
      code_ = part.code;
      sum_.where = std::move(part.where);
    }
    if (--left_ > 0) return;
    const auto begin_last = std::exchange(begin_last_, nullptr);
    if (begin_last == nullptr) return done_(code_, std::move(sum_));
    left_ = 1;
    code_ ? ended({.code = code_}, last_) : begin_last(shared_from_this());
  }

  /// It has none.
  void refuse(const error& why) {
    sum_.where = why.where();
    sum_.pieces.assign(sum_.pieces.size(), why.code());
    done_.later(why.code(), std::move(sum_));
  }

private:
  /// A piece is whole when every slice that has bytes of it is.
  void tell_verified(const links::outcome& part, const part_range& of) {
    const auto verified = [&part](std::uint64_t from, std::uint64_t to) {
      if (part.slice_size == 0) return false; // it never began
      for (auto slice = from / part.slice_size; slice * part.slice_size < to; ++slice) {
        if (!part.verified_slices.test(static_cast<std::uint32_t>(slice))) return false;
      }
      return true;
    };
    std::uint64_t at = 0;
    auto skipped = of.skipped;
    for (auto i = of.first; i < of.first + of.pieces; ++i) {
      const auto end = std::min(at + lengths_[i] - std::exchange(skipped, 0), of.length);
      if (!verified(at, end)) sum_.pieces[i] = part.code;
      at = end;
    }
  }

  pending<transfer_result> done_;
  transfer_result sum_;
  std::vector<std::uint64_t> lengths_; ///< of the pieces, when each is to be told of
  error_code code_;
  std::size_t left_ = 0; ///< of its operations, those that have not ended
  part_range last_;
  std::function<void(std::shared_ptr<transfer_end>)> begin_last_; ///< null: none waits for the others
};

} // namespace

const std::string& link::peer() const {
  return core_->peer();
}

bool link::alive() const noexcept {
  return core_ && !core_->forked() && core_->alive();
}

std::vector<piece> link::whole(const region_view& local, const remote_view& remote) {
  // Different lengths make a piece that does not fit one of the two.
  return {{0, 0, std::max(local.length, remote.length)}};
}

boost::asio::any_io_executor link::executor(lane of) const {
  if (core_->forked()) return boost::asio::system_executor();
  return core_->side_of(of).on().executor();
}

void link::close() {
  if (core_ && !core_->forked()) core_->close();
}

void link::start_open(std::string name, handler_of<remote_region> handler) {
  if (core_->forked()) return answer_forked(std::move(handler));
  pending<remote_region> done(std::move(handler), core_->side_of(lane::standard).on());
  if (core_->fabric().closing()) return done.later(errc::closed, {});
  const auto payload = encode_open(std::string_view(name).substr(0, longest_region_name + 1));
  links::operation_request asked{.kind = wire::operation_kind::request,
                                 .service = static_cast<std::uint16_t>(service_id::regions),
                                 .carries = lane::standard,
                                 .payload = payload,
                                 .deadline = deadline_of({}, core_->fabric().limits())};
  const auto ids = connect_slot(done.slot(), core_, lane::standard);
  submit(core_, std::move(asked),
         on_end([done = std::move(done), name = std::move(name)](links::outcome&& ended) mutable {
           remote_region found;
           if (!ended.code) {
             if (auto opened = decode_opened(ended.payload)) {
               found = std::move(*opened);
             } else {
               ended.code = errc::protocol_error;
             }
           }
           found.name = std::move(name);
           done(ended.code, std::move(found));
         }),
         place_of(ids));
}

void link::start_transfer(direction way, std::vector<piece> pieces, region_view local, remote_view remote,
                          transfer_options options, handler_of<transfer_result> handler) {
  if (core_->forked()) return answer_forked(std::move(handler));
  const auto& limits = core_->fabric().limits();
  const auto verify = options.verify.value_or(limits.verify);
  auto end = std::make_shared<transfer_end>(std::move(handler), core_->side_of(options.lane).on(), verify);
  if (options.piece_status) end->tell_pieces(pieces);
  if (core_->fabric().closing()) return end->refuse(error(errc::closed, "the fabric is closing"));
  if (const auto unknown = core_->fabric().check_memory(local); unknown.code() != errc{}) return end->refuse(unknown);
  auto parts = cut(pieces, local, remote, limits.operations_bytes.value());
  if (options.notify.size() > most_notify)
    parts = error(errc::too_large, fmt::format("notify: at most {} bytes", most_notify));
  if (!parts) return end->refuse(parts.error());
  std::uint64_t bytes = 0;
  for (const auto& each : pieces) bytes += each.length;
  options.lane = core_->fabric().lane_for(options.lane, bytes);
  const auto deadline = deadline_of(options.deadline, limits);
  const auto ids = connect_slot(end->slot(), core_, options.lane, parts->size());
  const auto begin = [weak = std::weak_ptr(core_), way, verify, options, deadline,
                      ids](part_of_transfer& part, std::size_t number, const std::shared_ptr<transfer_end>& of) {
    const auto core = weak.lock();
    if (!core) return of->ended({.code = errc::closed}, part.moves);
    const auto payload = encode(part.access);
    submit(core,
           {.kind = way == direction::write ? wire::operation_kind::write : wire::operation_kind::read,
            .service = static_cast<std::uint16_t>(service_id::regions),
            .carries = options.lane,
            .verify = verify,
            .payload = payload,
            .pieces = std::move(part.local),
            .deadline = deadline,
            .by_deadline = options.deadline.has_value(),
            .stall = options.stall.value_or(core->fabric().limits().stall_default),
            .wait_when_full = number > 0 || options.when_full == when_full::wait,
            .keep_progress = options.piece_status},
           on_end([of, moves = part.moves](links::outcome&& ended) { of->ended(std::move(ended), moves); }),
           place_of(ids, number));
  };
  auto at_once = parts->size();
  parts->back().access.notify = options.notify;
  if (!options.notify.empty() && at_once > 1) {
    // The words come behind all of the data.
    const auto last = std::make_shared<part_of_transfer>(std::move(parts->back()));
    end->expect_behind(last->moves, [begin, last, number = --at_once](const std::shared_ptr<transfer_end>& of) {
      begin(*last, number, of);
    });
  }
  end->expect(at_once);
  for (std::size_t i = 0; i < at_once; ++i) begin((*parts)[i], i, end);
}

void link::start_request(std::span<const std::byte> payload, request_options options, handler_of<response> handler) {
  if (core_->forked()) return answer_forked(std::move(handler));
  const auto& limits = core_->fabric().limits();
  auto& side = core_->side_of(options.lane);
  auto owner = std::make_unique<request_end>(std::move(handler), side.on());
  auto& done = owner->done;
  if (core_->fabric().closing()) return done.later(errc::closed, {});
  if (payload.size() > limits.request_max.value()) {
    return done.later(errc::too_large, {.payload = {}, .where = fmt::format("a request of {} bytes", payload.size())});
  }
  options.lane = core_->fabric().lane_for(options.lane, payload.size());
  const auto ids = connect_slot(done.slot(), core_, options.lane);
  submit(core_,
         {.kind = wire::operation_kind::request,
          .service = static_cast<std::uint16_t>(service_id::user),
          .carries = options.lane,
          .payload = payload,
          .deadline = deadline_of(options.deadline, limits),
          .wait_when_full = options.when_full == when_full::wait},
         std::move(owner), place_of(ids));
}

void link::start_inspection(handler_of<std::vector<path_status>> handler) {
  if (core_->forked()) return answer_forked(std::move(handler));
  pending<std::vector<path_status>> done(std::move(handler), core_->thread());
  if (!core_->alive()) return done.later(core_->end_reason().code(), {});
  const auto kept = std::make_shared<pending<std::vector<path_status>>>(std::move(done));
  core_->inspect_paths(
      [kept](const error& ended, std::vector<path_status> found) { kept->later(ended.code(), std::move(found)); });
}

} // namespace weft
