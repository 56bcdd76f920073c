#include "cluster.hpp"

#include "by_weight.hpp"
#include "lane/ingress.hpp"

#include <algorithm>
#include <array>

namespace weft::tests {
namespace {

constexpr std::uint32_t message_bytes = 4096;
constexpr std::uint32_t control_bytes = 64;
/// Links carry this much of one sender before that of the next: 1.3 us of 100 Gb/s.
constexpr std::uint32_t segment_bytes = 16 * 1024;
constexpr std::uint32_t slice_bytes = 256 * 1024;
/// What is on the wire is not called back by what is urgent.
constexpr std::uint32_t packet_bytes = 4096;

duration time_of(std::uint64_t bytes, double rate) {
  return std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 * static_cast<double>(bytes) / rate));
}

} // namespace

/// Chunks from one node to another.
struct cluster::flow final : lanes::flow {
  flow(cluster& in, node& at, std::uint32_t from, std::uint32_t to) : owner(in), of(at), from(from), to(to) {}
  std::uint64_t send(std::uint64_t quantum) override;

  cluster& owner;
  node& of;
  const std::uint32_t from, to;
  struct chunk {
    std::uint32_t puller;
    std::uint64_t left;
  };
  std::deque<chunk> chunks;
  lanes::destination there;
  lanes::flight under_way{there};
};

struct cluster::node {
  explicit node(double gbits) : out{.rate = gbits * 1e9 / 8}, in{.rate = gbits * 1e9 / 8} {}

  wire out, in;
  lanes::host_board board;
  lanes::scheduler rail{lanes::by_weight({16, 8, 4, 1}), board, 0};
  lanes::ingress coming_in{board};
  std::vector<std::unique_ptr<flow>> flows; ///< by the node that they go to
  bool silent = false;
  time_point timer_at = time_point::max();
  time_point sampled_at{};
  bool sampling = false;
  std::vector<lanes::ingress::source> sources;              ///< by the node that they are
  std::vector<std::deque<lanes::ingress::awaited>> awaited; ///< chunks, by the node that they come from
  std::uint64_t bulk_in = 0;
  std::uint64_t bulk_out = 0;
};

cluster::cluster(const cluster_options& options) : options_(options), random_(options.seed) {
  for (const auto gbits : options.gbits) nodes_.push_back(std::make_unique<node>(gbits));
  for (auto& each : nodes_) {
    each->flows.resize(nodes_.size());
    each->sources.resize(nodes_.size());
    each->awaited.resize(nodes_.size());
  }
}

cluster::~cluster() = default;

void cluster::pull(std::size_t to, std::vector<std::size_t> sources, std::size_t depth, std::uint64_t chunk) {
  for (const auto from : sources) {
    auto& at = *nodes_[from];
    if (at.flows[to]) continue;
    at.flows[to] = std::make_unique<flow>(*this, at, static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to));
    at.rail.under_way().add(at.flows[to]->under_way);
  }
  pullers_.push_back({to, std::move(sources), chunk});
  for (std::size_t i = 0; i < depth; ++i) want_chunk(static_cast<std::uint32_t>(pullers_.size() - 1));
}

void cluster::ask(std::size_t from, std::size_t to, double rate) {
  const auto every = std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / rate));
  askers_.push_back({from, to, every});
  const auto first = now_ + std::chrono::nanoseconds(random_.below(static_cast<std::uint64_t>(every.count())));
  push({.at = first, .what = kind::turn, .of = static_cast<std::uint32_t>(askers_.size() - 1)});
}

void cluster::tells_nothing(std::size_t node) {
  nodes_[node]->silent = true;
}

void cluster::run(duration length) {
  counted_from_ = now_;
  latencies_.clear();
  for (auto& each : nodes_) each->bulk_in = each->bulk_out = 0;
  const auto end = now_ + length;
  while (!events_.empty() && events_.top().at <= end) {
    auto next = events_.top();
    events_.pop();
    now_ = next.at;
    handle(next);
  }
  now_ = end;
}

double cluster::used_in(std::size_t node) const {
  const auto& of = *nodes_[node];
  return static_cast<double>(of.bulk_in) / (of.in.rate * std::chrono::duration<double>(now_ - counted_from_).count());
}

double cluster::used_out(std::size_t node) const {
  const auto& of = *nodes_[node];
  return static_cast<double>(of.bulk_out) / (of.out.rate * std::chrono::duration<double>(now_ - counted_from_).count());
}

lanes::budget_state cluster::budget_of(std::size_t node) const {
  return nodes_[node]->rail.under_way().state();
}

/// When `bytes` that come now have left a link.
time_point cluster::through(wire& link, std::uint32_t bytes, bool urgent) const {
  const auto takes = time_of(bytes, link.rate);
  if (!urgent || !options_.realtime_first) return link.free_at = std::max(link.free_at, now_) + takes;
  const auto busy = std::clamp<duration>(link.free_at - now_, duration::zero(), time_of(packet_bytes, link.rate));
  link.urgent_free_at = std::max(link.urgent_free_at, now_ + busy) + takes;
  link.free_at = std::max(link.free_at, now_) + takes;
  return link.urgent_free_at;
}

void cluster::push(event what) {
  what.number = numbered_++;
  events_.push(what);
}

/// From `from`'s link out to the switch behind which the link of `to` is.
void cluster::send(event what) {
  const bool urgent = what.what != kind::segment;
  what.at = through(nodes_[what.from]->out, what.bytes, urgent) + options_.one_way;
  what.inside = false;
  push(what);
}

void cluster::want_chunk(std::uint32_t puller) {
  const auto& of = pullers_[puller];
  const auto from = of.sources[random_.below(of.sources.size())];
  auto& here = *nodes_[of.to];
  here.awaited[from].emplace_back(here.coming_in, here.sources[from]);
  send({.what = kind::chunk_wanted,
        .from = static_cast<std::uint32_t>(of.to),
        .to = static_cast<std::uint32_t>(from),
        .of = puller,
        .bytes = control_bytes,
        .allowed = here.coming_in.allowance(now_)});
}

/// A realtime message; now and then its sender asks to be told that it has come.
void cluster::send_urgent(event what) {
  auto& from = *nodes_[what.from];
  from.board.seen(now_);
  what.bytes = message_bytes;
  what.samples = !from.sampling && now_ - from.sampled_at >= from.board.sample_every(now_);
  if (what.samples) {
    from.sampling = true;
    from.sampled_at = now_;
  }
  send(what);
}

std::uint64_t cluster::flow::send(std::uint64_t quantum) {
  std::uint64_t total = 0;
  while (total < quantum && !chunks.empty() && of.rail.under_way().may_take(under_way)) {
    auto& front = chunks.front();
    const auto most = std::min(quantum - total, of.rail.under_way().room_for(under_way));
    const auto room = std::max<std::uint64_t>(most / lanes::budget::grain, 1) * lanes::budget::grain;
    const auto slice_left = (front.left - 1) % slice_bytes + 1; // chunks are whole slices
    const auto part = std::min<std::uint64_t>(slice_left, room);
    const bool marked = of.rail.under_way().marks(under_way, part);
    of.rail.released(under_way, part, marked);
    front.left -= part;
    total += part;
    const bool held = of.rail.under_way().room_for(under_way) < lanes::budget::grain;
    owner.part_leaves(*this, static_cast<std::uint32_t>(part), held, part == slice_left, front.left == 0,
                      marked ? under_way.marks() : 0);
    if (front.left == 0) chunks.pop_front();
  }
  return total;
}

void cluster::part_leaves(flow& from, std::uint32_t bytes, bool held, bool ends_slice, bool ends_chunk,
                          std::uint64_t marks) {
  nodes_[from.from]->bulk_out += bytes;
  const auto puller = from.chunks.front().puller;
  while (bytes > 0) {
    const auto part = std::min(bytes, segment_bytes);
    bytes -= part;
    send({.what = kind::segment,
          .ends_chunk = ends_chunk && bytes == 0,
          .ends_slice = ends_slice && bytes == 0,
          .held = held,
          .from = from.from,
          .to = from.to,
          .of = puller,
          .bytes = part,
          .marks = bytes == 0 ? marks : 0});
  }
}

void cluster::pump(std::uint32_t at) {
  auto& of = *nodes_[at];
  of.rail.advance(now_);
  std::uint64_t sent = 0;
  do sent += of.rail.run(lanes::scheduler::lone_quantum);
  while (!of.rail.idle());
  if (sent > 0) of.board.bulk_sent(now_);
  const auto due = std::max(of.rail.next_due(), now_ + std::chrono::microseconds(1));
  if (of.rail.next_due() == time_point::max() || due >= of.timer_at) return;
  of.timer_at = due;
  push({.at = due, .what = kind::timer, .to = at});
}

void cluster::handle(event& what) {
  const bool comes = what.what != kind::turn && what.what != kind::timer;
  auto& here = *nodes_[comes || what.what == kind::timer ? what.to : 0];
  if (comes && !what.inside) { // at the switch
    what.at = through(here.in, what.bytes, what.what != kind::segment);
    what.inside = true;
    return push(what);
  }
  switch (what.what) {
    case kind::segment:
      here.bulk_in += what.bytes;
      here.coming_in.arrived(here.sources[what.from], what.bytes, what.held, now_);
      if (what.marks > 0 && !here.silent) {
        send({.what = kind::landed, .from = what.to, .to = what.from, .bytes = control_bytes, .marks = what.marks});
      }
      if (what.ends_slice) {
        send({.what = kind::progress,
              .from = what.to,
              .to = what.from,
              .bytes = control_bytes,
              .allowed = here.coming_in.allowance(now_)});
      }
      if (what.ends_chunk) {
        here.awaited[what.from].pop_back();
        want_chunk(what.of);
      }
      return;
    case kind::progress: {
      auto& from = *here.flows[what.from];
      from.there.allow(what.allowed, now_);
      if (!from.chunks.empty()) here.rail.ready(lane::bulk, from);
      return pump(what.to);
    }
    case kind::chunk_wanted: {
      auto& from = *here.flows[what.from];
      from.there.allow(what.allowed, now_);
      from.chunks.push_back({what.of, pullers_[what.of].chunk});
      here.rail.ready(lane::bulk, from);
      return pump(what.to);
    }
    case kind::landed: {
      if (what.samples) {
        here.sampling = false;
        return here.board.sample(now_ - here.sampled_at, now_);
      }
      auto& from = *here.flows[what.from];
      here.rail.under_way().landed(from.under_way, what.marks, now_);
      if (!from.chunks.empty()) here.rail.ready(lane::bulk, from);
      return pump(what.to);
    }
    case kind::question:
    case kind::answer:
      if (what.samples) {
        send({.what = kind::landed, .from = what.to, .to = what.from, .bytes = control_bytes, .samples = true});
      }
      if (what.what == kind::answer) return latencies_.record(now_ - what.began);
      return send_urgent({.what = kind::answer, .from = what.to, .to = what.from, .of = what.of, .began = what.began});
    case kind::turn: {
      const auto& of = askers_[what.of];
      send_urgent({.what = kind::question,
                   .from = static_cast<std::uint32_t>(of.from),
                   .to = static_cast<std::uint32_t>(of.to),
                   .of = what.of,
                   .began = now_});
      what.at += of.every;
      return push(what);
    }
    case kind::timer: here.timer_at = time_point::max(); return pump(what.to);
  }
}

} // namespace weft::tests
