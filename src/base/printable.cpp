#include "base/printable.hpp"

namespace weft {

std::string printable(std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto letter = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (letter == 0xc2 && next >= 0x80 && next < 0xa0) text[i] = text[i + 1] = '?';
    if (letter < 0x20 || letter == 0x7f) text[i] = '?';
  }
  return text;
}

} // namespace weft
