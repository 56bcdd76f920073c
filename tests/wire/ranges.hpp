// What a message of progress tells, to be compared.
#pragma once

#include "wire/bodies.hpp"

#include <vector>

namespace weft::wire {

inline std::vector<slice_range> ranges_of(std::span<const std::byte> body) {
  std::vector<slice_range> all;
  const auto told = decode_ranges(body).value();
  for (std::size_t i = 0; i < told.size(); ++i) all.push_back(told[i]);
  return all;
}

} // namespace weft::wire
