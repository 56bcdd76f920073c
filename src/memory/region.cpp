#include "weft/region.hpp"

#include "memory/registration.hpp"

namespace weft {

std::span<std::byte> region_view::bytes() const noexcept {
  if (!owner || offset > owner->bytes.size() || length > owner->bytes.size() - offset) return {};
  return owner->bytes.subspan(offset, length);
}

std::span<std::byte> region::bytes() const noexcept {
  return registered_ ? registered_->bytes : std::span<std::byte>{};
}

std::vector<piece> strided(piece first, std::uint64_t local_stride, std::uint64_t remote_stride, std::size_t count) {
  std::vector<piece> pieces(count, first);
  for (std::size_t i = 0; i < count; ++i) {
    pieces[i].local_offset += i * local_stride;
    pieces[i].remote_offset += i * remote_stride;
  }
  return pieces;
}

} // namespace weft
