// The frames of tests/golden/v1: what each file holds, as values. Each file is one encoded frame in hexadecimal,
// written once from the description of version 1 and never again.
#pragma once

#include "wire/bodies.hpp"

#include <string>
#include <vector>

namespace weft::wire::golden {

struct sample {
  std::string name; ///< of the frame, and of its file
  frame_header header;
  std::vector<std::byte> body;
};

[[nodiscard]] hello caller_hello();
[[nodiscard]] hello answerer_hello();
[[nodiscard]] channel_hello data_hello();
[[nodiscard]] request write_request();
[[nodiscard]] std::vector<slice_range> some_ranges();

/// One of each type at least, with body_length and body_crc set.
[[nodiscard]] std::vector<sample> samples();

/// What the file of `name` holds.
[[nodiscard]] std::vector<std::byte> read(const std::string& name);

/// Header and body as they lie on the wire.
[[nodiscard]] std::vector<std::byte> encoded(const sample& from);

} // namespace weft::wire::golden
