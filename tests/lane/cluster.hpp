// A cluster in virtual time: nodes behind one switch, each with a link in and a link out, whose schedulers and budgets
// are the ones of the library. Bulk goes in chunks that their receiver asks for, realtime as requests and answers at a
// rate. The network is queues: what waits for a link waits in the order in which it came, or realtime first.
#pragma once

#include "base/histogram.hpp"
#include "base/random.hpp"
#include "lane/host_board.hpp"
#include "lane/scheduler.hpp"

#include <deque>
#include <memory>
#include <queue>
#include <vector>

namespace weft::tests {

struct cluster_options {
  std::vector<double> gbits;   ///< of each node, in and out
  bool realtime_first = false; ///< the network has a priority class
  duration one_way = std::chrono::microseconds(5);
  std::uint32_t seed = 1;
};

class cluster {
public:
  explicit cluster(const cluster_options& options);
  ~cluster();
  cluster(const cluster&) = delete;
  cluster& operator=(const cluster&) = delete;

  /// `to` asks for chunks of one of `sources` each, `depth` at once, for as long as this runs.
  void pull(std::size_t to, std::vector<std::size_t> sources, std::size_t depth, std::uint64_t chunk = 1 << 20);
  /// 4 KiB there and back, so often a second.
  void ask(std::size_t from, std::size_t to, double rate);
  /// It takes all, and never tells what has landed.
  void tells_nothing(std::size_t node);

  /// From now on; what was counted before is forgotten.
  void run(duration length);

  [[nodiscard]] const histogram& latencies() const noexcept { return latencies_; }
  /// Of its link in, or out: bulk bytes of what it could have carried.
  [[nodiscard]] double used_in(std::size_t node) const;
  [[nodiscard]] double used_out(std::size_t node) const;
  [[nodiscard]] lanes::budget_state budget_of(std::size_t node) const;

private:
  struct wire {
    double rate = 0; ///< bytes per second
    time_point free_at{};
    time_point urgent_free_at{};
  };
  struct flow;
  struct node;
  struct puller {
    std::size_t to;
    std::vector<std::size_t> sources;
    std::uint64_t chunk;
  };
  struct asker {
    std::size_t from;
    std::size_t to;
    duration every;
  };
  enum class kind : std::uint8_t { segment, chunk_wanted, landed, progress, question, answer, turn, timer };
  /// Something on its way to a node, or due there.
  struct event {
    time_point at{};
    std::uint64_t number = 0; ///< what is at the same time comes in the order in which it was caused
    kind what{};
    bool inside = false;     ///< it has come through the link of `to`
    bool ends_chunk = false; ///< segment
    bool ends_slice = false; ///< segment
    bool held = false;       ///< segment: its sender has as much under way as is allowed
    std::uint32_t from = 0;  ///< a node
    std::uint32_t to = 0;    ///< a node
    std::uint32_t of = 0;    ///< the puller or the asker
    std::uint32_t bytes = 0;
    std::uint64_t marks = 0;   ///< segment: it is the last of the part with that mark; landed
    std::uint64_t allowed = 0; ///< chunk_wanted, progress: what may be under way to who says so
    time_point began{};        ///< question, answer: when the question was due
    bool samples = false;      ///< they: that it has come is told

    friend bool operator<(const event& a, const event& b) noexcept {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };

  [[nodiscard]] time_point through(wire& link, std::uint32_t bytes, bool urgent) const;
  void push(event what);
  void send(event what);
  void handle(event& what);
  void want_chunk(std::uint32_t puller);
  void send_urgent(event what);
  void part_leaves(flow& from, std::uint32_t bytes, bool held, bool ends_slice, bool ends_chunk, std::uint64_t marks);
  void pump(std::uint32_t at);

  const cluster_options options_;
  random_source random_;
  time_point now_ = time_point{} + std::chrono::hours(1);
  std::uint64_t numbered_ = 0;
  std::priority_queue<event> events_;
  std::vector<std::unique_ptr<node>> nodes_;
  std::vector<puller> pullers_;
  std::vector<asker> askers_;
  histogram latencies_;
  time_point counted_from_{};
};

} // namespace weft::tests
