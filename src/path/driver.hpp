// The owner of a channel: brackets the events it delivers, and hears of its end.
#pragma once

#include "wire/place.hpp"

#include "weft/error.hpp"

#include <cstdint>

namespace weft::path {

class driver {
public:
  virtual void batch_begins() = 0;
  virtual void batch_ends() = 0;
  /// The channel broke, or what came is no frame: it is to be closed. Inside a batch. While it is being closed: what
  /// broke it, known only now.
  virtual void channel_failed(wire::place at, std::uint32_t epoch, const error& why) = 0;
  /// Something has come over it, so that it works in both directions. Told by channels for which the set-up of their
  /// connection proves nothing.
  virtual void channel_proven(wire::place, std::uint32_t) {}
  /// What the peer sent can only come from a peer that does not keep to the protocol: its link is to end.
  virtual void protocol_broken(const error& how) = 0;
  /// The channel is fenced, after a close() that did not end at once. Inside a batch; it tells nothing more.
  virtual void channel_closed(wire::place at, std::uint32_t epoch) = 0;

protected:
  ~driver() = default;
};

} // namespace weft::path
