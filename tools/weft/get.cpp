// `weft get`: a shard, or a range of one, through a few registered buffers, so that memory does not grow with it.
#include "weft/commands.hpp"

#include "common/progress.hpp"
#include "weft/output_file.hpp"

#include <weft/shard_client.hpp>
#include <weft/units.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace weft::tools {
namespace {

constexpr std::uint64_t window = 4 << 20; ///< of one fetch
constexpr std::size_t window_count = 4;   ///< fetches under way: a reader that stops holds so much of a server

struct byte_range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

result<byte_range> read_range(std::string_view text, std::uint64_t size) {
  if (text.empty()) return byte_range{0, size};
  const auto colon = text.find(':');
  if (colon == text.npos) {
    return error{errc::invalid_argument, fmt::format("--range {}: it needs the form OFFSET:LENGTH", text)};
  }
  const auto offset = read_bytes("--range", text.substr(0, colon));
  if (!offset) return offset.error();
  const auto length = read_bytes("--range", text.substr(colon + 1));
  if (!length) return length.error();
  if (*offset > size || *length > size - *offset) {
    return error{errc::invalid_argument, fmt::format("--range {}: the shard has {} bytes", text, size)};
  }
  return byte_range{*offset, *length};
}

/// Fetches window after window, several ahead of the one that is written out.
class streamed_fetch {
public:
  streamed_fetch(command_context& context, shard_client& shards, const shard_info& shard, region buffers,
                 byte_range range)
      : context_(context), shards_(shards), shard_(shard), buffers_(std::move(buffers)), range_(range),
        end_(std::chrono::steady_clock::now() + context.deadline_for(range.length)) {}

  [[nodiscard]] result<void> run(output_file& output, std::string_view place) {
    progress bar{shard_.name, range_.length};
    for (std::size_t i = 0; i < window_count; ++i) start_next(i);
    for (std::size_t i = 0; written_ < range_.length; i = (i + 1) % window_count) {
      const auto fetched = under_way_[i].get(context_.signals, [&] { bar.update(written_); });
      if (fetched.code) return failure_of(fetched.code, fetched.value.where, place);
      const auto part = buffers_.bytes().subspan(i * window, static_cast<std::size_t>(fetched.value.bytes));
      if (const auto done = output.write(part); !done) return done.error();
      written_ += part.size();
      moved_ += fetched.value.moved;
      verified_ = fetched.value.verified;
      bar.update(written_);
      start_next(i);
    }
    return {};
  }

  [[nodiscard]] std::uint32_t moved() const noexcept { return moved_; }
  [[nodiscard]] verify_mode verified() const noexcept { return verified_; }

private:
  void start_next(std::size_t i) {
    const auto length = std::min(window, range_.length - started_);
    if (length == 0) return;
    const auto left = std::max(end_ - std::chrono::steady_clock::now(), std::chrono::nanoseconds{1});
    const fetch_options options{.lane = context_.lane(), .deadline = left, .version = shard_.version};
    std::vector<fetch_piece> pieces = {{range_.offset + started_, buffers_.sub(i * window, length)}};
    started_ += length;
    shards_.fetch(shard_.name, std::move(pieces), options, under_way_[i].handler());
  }

  command_context& context_;
  shard_client& shards_;
  const shard_info& shard_;
  region buffers_;
  byte_range range_;
  std::chrono::steady_clock::time_point end_;
  std::uint64_t started_ = 0;
  std::uint64_t written_ = 0;
  std::uint32_t moved_ = 0;
  verify_mode verified_ = verify_mode::slice;
  std::array<pending<fetch_result>, window_count> under_way_;
};

} // namespace

result<void> get(command_context& context, const get_arguments& arguments) {
  const auto url = parse_shard_url(arguments.url);
  if (!url) return url.error();
  if (context.json && arguments.file == "-") {
    return error{errc::invalid_argument, "--json: standard output is taken by the shard; give a FILE"};
  }
  // A range that cannot be read is told before anything is asked of a server.
  if (const auto form = read_range(arguments.range, UINT64_MAX); !form) return form.error();
  context.document = {{"command", "get"}, {"name", url->name}};
  auto on = fabric::open(context.settings.configuration);
  if (!on) return on.error();
  shard_client shards{*on, url->replicas};
  pending<shard_info> looking;
  shards.stat(url->name, looking.handler());
  const auto found = looking.get(context.signals);
  if (found.code) return failure_of(found.code, {}, url->text());
  const auto range = read_range(arguments.range, found.value.size);
  if (!range) return range.error();

  const auto buffers =
      on->allocate(byte_count{std::min(window * window_count, std::max<std::uint64_t>(range->length, 1))});
  if (!buffers) return buffers.error();
  auto output = output_file::create(arguments.file);
  if (!output) return output.error();
  streamed_fetch fetch{context, shards, found.value, *buffers, *range};
  if (const auto fetched = fetch.run(*output, url->text()); !fetched) return fetched.error();
  if (const auto committed = output->commit(); !committed) return committed.error();
  context.document.update({{"version", to_string(found.value.version)},
                           {"size", found.value.size},
                           {"bytes", range->length},
                           {"chunks_moved", fetch.moved()},
                           {"verified", name(fetch.verified())}});
  return {};
}

} // namespace weft::tools
