// Memory of one side of a simulated transfer: pieces with gaps between them, a known content, and poison from the
// moment when its owner was told that it is free again. `buffers` watches that no channel touches it then. Owned by the
// scenario; one thread.
#pragma once

#include "base/random.hpp"
#include "memory/pieces.hpp"

#include <deque>
#include <map>
#include <memory>
#include <string>

namespace weft::sim {

class buffers;

class buffer {
public:
  /// `length` bytes in one to five pieces.
  buffer(random_source& random, std::uint64_t length);

  [[nodiscard]] memory::piece_list pieces() const;
  [[nodiscard]] std::uint64_t length() const noexcept { return length_; }

  /// Fills the pieces with what belongs to `seed`.
  void fill(std::uint64_t seed);
  /// Whether the pieces hold that and the gaps nothing new.
  [[nodiscard]] bool holds(std::uint64_t seed) const;
  [[nodiscard]] std::uint32_t crc(std::uint64_t offset, std::uint64_t length) const;
  [[nodiscard]] bool released() const noexcept { return released_; }
  /// Whether a transfer still keeps it.
  [[nodiscard]] bool referenced() const noexcept { return bytes_.use_count() > 1; }

private:
  friend class buffers;
  struct piece {
    std::size_t at;
    std::size_t length;
  };

  void poison();
  [[nodiscard]] bool poisoned() const;
  [[nodiscard]] bool poisoned_at(std::size_t at) const;

  std::shared_ptr<std::vector<std::byte>> bytes_;
  std::vector<piece> pieces_;
  std::uint64_t length_;
  bool released_ = false;
};

/// All buffers of a scenario.
class buffers {
public:
  buffer& add(random_source& random, std::uint64_t length);

  /// The transfer is over as its owner was told: nothing may touch `freed` any more.
  void release(buffer& freed);

  /// A channel is about to read or write `bytes`; notes what it may not.
  void touching(std::span<const std::byte> bytes, bool writes);
  /// Looks at some bytes of those that were released last.
  void look(random_source& random);
  /// At the end: every buffer is released, untouched since, and referenced by nobody.
  void check_all();

  /// The first thing that was wrong; empty when all is well.
  [[nodiscard]] const std::string& violation() const noexcept { return violation_; }

private:
  void found(std::string what);

  std::deque<buffer> all_;
  std::map<const std::byte*, buffer*> by_address_;
  std::deque<buffer*> recent_;
  std::string violation_;
};

} // namespace weft::sim
