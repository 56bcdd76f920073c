// What a fabric offers to its peers: each service answers the operations that name its number.
#pragma once

#include "fabric/link_side.hpp"

#include <memory>
#include <span>
#include <string>

namespace weft::fabrics {

/// The numbers are part of the protocol.
enum class service_id : std::uint16_t { user = 0, regions = 1, shards = 2 };

/// An operation of a peer that waits for its answer. Cheap to copy. Its functions may be called on any thread; those of
/// an operation that has ended meanwhile do nothing but complete `owner`.
class call {
public:
  call(std::shared_ptr<link_side> side, const links::incoming& begun)
      : side_(std::move(side)), id_(begun.id), terms_(begun.terms), deadline_(begun.deadline) {}

  [[nodiscard]] const wire::request& terms() const noexcept { return terms_; }
  [[nodiscard]] time_point deadline() const noexcept { return deadline_; }
  [[nodiscard]] const std::string& peer() const;
  [[nodiscard]] bool forked() const;
  [[nodiscard]] worker& thread() const noexcept { return side_->on(); }
  [[nodiscard]] links::operation_id id() const noexcept { return id_; }
  [[nodiscard]] const link_side* side() const noexcept { return side_.get(); }
  [[nodiscard]] std::shared_ptr<const link_core> link() const;

  /// As engine::accept_write.
  void accept(memory::piece_list pieces, std::unique_ptr<links::completion> owner) const;
  /// As engine::supply_read.
  void supply(memory::piece_list pieces, std::vector<std::uint32_t> crcs,
              std::unique_ptr<links::completion> owner) const;
  void succeed(std::span<const std::byte> payload) const;
  void fail(const error& why) const;

private:
  std::shared_ptr<link_side> side_;
  links::operation_id id_;
  wire::request terms_;
  time_point deadline_;
};

class service {
public:
  virtual ~service() = default;
  /// On the thread of the operation's lane, both threads at once: must not block. `payload` is valid during the call.
  virtual void arrived(const call& begun, std::span<const std::byte> payload) = 0;
  /// On a data thread: a link is over, and what its peer left unfinished will not be finished.
  virtual void link_ended() {}
};

/// A completion made of a function that takes (outcome&&).
template <class Function>
[[nodiscard]] std::unique_ptr<links::completion> on_end(Function function) {
  struct owner final : links::completion {
    explicit owner(Function&& then) : run(std::move(then)) {}
    void complete(links::outcome&& ended) override { run(std::move(ended)); }
    Function run;
  };
  return std::make_unique<owner>(std::move(function));
}

} // namespace weft::fabrics
