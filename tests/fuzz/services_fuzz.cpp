// What services say to each other, and what a store reads from its disk: whatever is accepted has sane bounds and is
// read back the same.
#include "choices.hpp"

#include "fabric/region_protocol.hpp"
#include "shard/manifest.hpp"
#include "shard/name.hpp"
#include "shard/protocol.hpp"

namespace weft::fuzz {
namespace {

void region_access_of(std::span<const std::byte> bytes) {
  const auto access = fabrics::decode_access(bytes);
  if (!access) return;
  std::uint64_t pieces = 0;
  for (const auto& run : access->runs) {
    require(run.count > 0 && run.length > 0, "a run moves something");
    const auto end = run.begin + run.stride * (run.count - 1) + run.length;
    require(end > run.begin && end < std::uint64_t{1} << 63, "the end of a run is a number");
    pieces += run.count;
  }
  require(pieces <= fabrics::most_pieces && access->notify.size() <= fabrics::most_notify, "an access is bounded");
  const auto again = fabrics::decode_access(fabrics::encode(*access));
  require(again && again->runs == access->runs && again->notify == access->notify, "an access is read back");
}

void command_of(std::span<const std::byte> bytes) {
  const auto value = shards::decode_command(bytes);
  if (!value) return;
  const auto again = shards::decode_command(shards::encode(*value));
  require(again && *again == *value, "a command is read back");
}

void answer_of(std::span<const std::byte> bytes) {
  const auto value = shards::decode_answer(bytes);
  if (!value) return;
  const auto again = shards::decode_answer(shards::encode(*value));
  require(again && *again == *value, "an answer is read back");
}

void page_of(std::span<const std::byte> bytes) {
  const auto value = shards::decode_page(bytes);
  require(!value || value->shards.size() <= bytes.size(), "a page has no more than its bytes can say");
}

void manifest_of(std::span<const std::byte> bytes) {
  std::ignore = decode_manifest_header(bytes, "file");
  const auto value = decode_manifest(bytes, "file");
  if (!value) return;
  require(value->block_crcs.size() == block_count(value->size), "a checksum for each block");
  const auto encoded = encode(*value);
  require(std::equal(encoded.begin(), encoded.end(), bytes.begin(), bytes.end()), "a manifest is stored as it was");
}

void name_of(std::span<const std::byte> bytes) {
  const std::string_view name(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!check_shard_name(name)) return;
  const auto file = file_name_of(name);
  require(!file.empty() && file.size() <= longest_file_name, "a file name has a sane length");
  require(file.find('/') == file.npos && file != "." && file != "..", "a file name is one component");
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  choices in(data, size);
  constexpr void (*targets[])(std::span<const std::byte>) = {region_access_of, command_of,  answer_of,
                                                             page_of,          manifest_of, name_of};
  const auto what = in.below(std::size(targets) + 2);
  const auto bytes = in.rest();
  if (what < std::size(targets)) {
    targets[what](bytes);
  } else if (what == std::size(targets)) {
    std::ignore = fabrics::decode_open(bytes);
  } else {
    std::ignore = fabrics::decode_opened(bytes);
  }
  return 0;
}

} // namespace weft::fuzz
