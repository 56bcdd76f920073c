// What a path is to the engine above it: channels that carry messages and slices and know nothing of transfers, retries
// or policy. A channel belongs to one lane and to the thread of its engine; none of these calls blocks or allocates per
// slice. Backends: tcp/, verbs/, sim/.
#pragma once

#include "memory/granted.hpp"
#include "memory/pieces.hpp"
#include "wire/frame.hpp"
#include "wire/place.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace weft::path {

struct capabilities {
  /// The peer's data lands in granted memory without a call of ours, possibly late: only the end of the channel, or a
  /// marker behind it, proves that nothing more comes. Such a channel gets slices only once the engine at its other end
  /// has said that it knows the channel: that end would not know what to fence. Otherwise slices are placed where
  /// listener::slice_space says.
  bool one_sided = false;
  /// It takes slices only of transfers whose grant names the memory they go to.
  bool needs_grant = false;
  /// Which of the keys in a grant it takes.
  std::size_t key = 0;
};

/// What of a slice is posted at once. The parts of one follow each other on one channel, with no other slice between.
struct slice_part {
  std::uint32_t from = 0; ///< its first byte, in the slice
  std::uint32_t length = 0;

  [[nodiscard]] constexpr std::uint32_t end() const noexcept { return from + length; }
};

class channel {
public:
  virtual ~channel() = default;

  [[nodiscard]] virtual capabilities can() const noexcept = 0;
  /// Counts the channels that the link opened in its place, from 1.
  [[nodiscard]] virtual std::uint32_t epoch() const noexcept = 0;

  /// Copies a frame without payload memory of its own (anything but a slice) behind those posted before. False: no
  /// room, nothing was taken; listener::writable follows. A one-sided channel takes many more markers than
  /// other frames.
  [[nodiscard]] virtual bool post_message(const wire::frame_header& header, std::span<const std::byte> body) = 0;

  /// Whether there is room for a slice now. False: listener::writable follows.
  [[nodiscard]] virtual bool takes_slices() const noexcept = 0;
  /// Only while takes_slices(): takes a part of the slice that `header` describes, header.body_length bytes of `pieces`
  /// from header.offset on, to be sent by flush() at the latest, to the same place in `granted`. Both must stay as they
  /// are until listener::sent, which comes for each part. The checksum counts with the last part only. With
  /// wire::flag_tell listener::landed follows.
  virtual void post_slice(const wire::frame_header& header, slice_part part, const memory::piece_list& pieces,
                          const memory::granted_list& granted) = 0;

  /// The fence of this end: begins it. True: it is over, nothing is read, written or reported any more. False:
  /// driver::channel_closed says so, and what had arrived before may still be told.
  [[nodiscard]] virtual bool close() = 0;

  /// Hands on what was posted: called behind each run of slices, and at the end of a batch of events. Tells
  /// listener::sent of those slices that need their memory no more.
  virtual void flush() = 0;
};

/// What the engine hears from its channels, on its own thread. A channel never calls back from inside post_*.
class listener {
public:
  /// A complete frame other than a slice; `body` is valid during the call only.
  virtual void frame_arrived(wire::place at, const wire::frame_header& header, std::span<const std::byte> body) = 0;

  /// The header of a slice, or of a part of it, arrived, its payload follows: header.body_length bytes of it, at
  /// header.offset.
  virtual void slice_began(wire::place at, const wire::frame_header& header) = 0;
  /// Where the next bytes of that part go; 0: nobody wants them, drop them. Asked before every read.
  [[nodiscard]] virtual std::size_t slice_space(wire::place at, std::span<iovec> out) = 0;
  /// `bytes` more of it arrived, and were placed as slice_space said last.
  virtual void slice_grew(wire::place at, std::size_t bytes) = 0;
  /// One-sided: the record of a slice whose payload is in place already.
  virtual void slice_landed(wire::place at, const wire::frame_header& header) = 0;

  /// A part of a slice of `transfer` will not be read again.
  virtual void sent(wire::place at, std::uint64_t transfer) = 0;
  /// So many parts that were posted with wire::flag_tell, of all that ever were, are off this end's rail: taken by the
  /// peer, or by its device.
  virtual void landed(wire::place, std::uint64_t) {}
  /// The channel takes frames again after it had refused one.
  virtual void writable(wire::place at) = 0;

protected:
  ~listener() = default;
};

} // namespace weft::path
