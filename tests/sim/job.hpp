// One operation of a scenario from both sides: what its caller asks for, how the peer's handler behaves, and what has
// become of it. Planned before the scenario runs; owned by it.
#pragma once

#include "buffer.hpp"

#include "link/engine.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace weft::sim {

class endpoint;

/// Calls a function at the end of an operation, or of its data.
class end_told final : public links::completion {
public:
  explicit end_told(std::function<void(links::outcome&&)> then) : then_(std::move(then)) {}
  void complete(links::outcome&& ended) override { then_(std::move(ended)); }

private:
  std::function<void(links::outcome&&)> then_;
};

/// How a handler treats an operation.
struct behaviour {
  duration accept_after{};   ///< until it grants or supplies memory; zero: at once
  duration respond_after{};  ///< until it answers, from when it could
  errc refuses{};            ///< answers with this instead; no value: it serves
  bool refuses_late = false; ///< after having accepted the data
  bool tells_crcs = false;   ///< knows the checksums of what it supplies
  std::size_t answer = 0;    ///< bytes of a request's response
};

struct job {
  std::uint64_t id = 0; ///< travels in the request, and is the seed of the content
  wire::operation_kind kind{};
  lane carries{};
  verify_mode verify{};
  std::uint64_t length = 0;
  duration timeout = duration::max(); ///< from its start
  duration stall = duration::max();
  duration cancel_after = duration::max(); ///< from its start
  bool wait_when_full = true;
  bool tells_crcs = false;
  behaviour handler;

  bool started = false;
  bool completed = false;
  bool abandoned = false; ///< its caller's process died, and it with it
  std::string caller;     ///< the process that began it
  std::string server;     ///< the one whose handler got it
  links::operation_id operation = 0;
  std::weak_ptr<endpoint> at; ///< the caller's end
  time_point deadline = time_point::max();
  buffer* local = nullptr;        ///< the caller's
  buffer* remote = nullptr;       ///< the handler's
  int handled = 0;                ///< how often the handler ran
  bool verified_there = false;    ///< write: the handler saw the bytes complete
  std::uint32_t losses_here = 0;  ///< of channels of its lane at the caller, before it began
  std::uint32_t losses_there = 0; ///< at the handler, before it supplied
  links::outcome result;
};

} // namespace weft::sim
