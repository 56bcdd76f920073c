// One of the fabric's threads: its io_context, the rails' schedulers for its lanes, and the batches in which it works.
// Everything that happens on it happens inside a batch; at the end of one the engines that were touched post what
// gathered, the schedulers let slices go, and the channels flush.
#pragma once

#include "base/clock.hpp"
#include "base/tunables.hpp"
#include "fabric/due_timer.hpp"
#include "fabric/rails.hpp"
#include "lane/scheduler.hpp"
#include "path/event_source.hpp"

#include "weft/metrics.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace weft::fabrics {

/// Something that gathers work during a batch: one end of a link on this thread.
class batched {
public:
  /// The first event of a batch reaches it.
  virtual void batch_began(time_point now) = 0;
  /// Posts what gathered; may cause more.
  virtual void post_gathered() = 0;
  /// Hands everything posted to the network and sets its timer.
  virtual void flush_channels() = 0;

  bool touched = false; ///< the worker's: it is in the present batch

protected:
  ~batched() = default;
};

/// What one thread is called and where it runs.
struct thread_plan {
  std::string name;
  cpu_list cpus = {};         ///< empty: anywhere
  std::uint32_t priority = 0; ///< of SCHED_FIFO; 0: an ordinary thread
  std::int32_t nice = 0;      ///< 0: as the process has it
  bool realtime = false;      ///< it carries the realtime lane: it has no budget, and says on the board how it fares
};

class worker {
public:
  /// `board`: the fabric's, of any rail.
  worker(const thread_plan& plan, const tunables& limits, lanes::host_board& board);
  /// Stops and joins.
  ~worker();
  worker(const worker&) = delete;
  worker& operator=(const worker&) = delete;

  [[nodiscard]] boost::asio::io_context& context() noexcept { return context_; }
  [[nodiscard]] boost::asio::io_context::executor_type executor() noexcept { return executor_; }
  /// On the thread: its scheduler for a rail, for as long as the worker lives.
  [[nodiscard]] lanes::scheduler& scheduler_of(const rail& which);
  /// On the thread: in force from the next quantum on.
  void set(const tunables& chosen);
  /// Also while a completion queue is delivered, which happens outside the context: it would say no, and post.
  [[nodiscard]] bool here() const noexcept { return current_ == this; }
  /// Where the thread could not be placed as planned: which processors, which priority, and why. Constant.
  [[nodiscard]] const std::vector<std::string>& complaints() const noexcept { return complaints_; }
  /// From any thread: its part of what there is to tell of a rail, and of the pick-up of operations.
  void add_to(rail_metrics& sum, const rail& which) const noexcept;
  void add_to(lag_metrics& sum) const noexcept { pickups_.add_to(sum); }
  /// On the thread: an operation that another thread began at `asked` is here now.
  void picked_up(time_point asked) noexcept { pickups_.record(now_ - asked); }
  /// On the thread: a channel was opened or closed. With poll=spin the thread sleeps only while it has none.
  void channel_opened() noexcept { ++channels_; }
  void channel_closed() noexcept { --channels_; }
  /// On the thread, for as long as it runs: it looks at `source` too.
  void add(std::shared_ptr<path::event_source> source) { sources_.push_back(std::move(source)); }
  /// No more; those that still use it do without.
  void remove(const path::event_source& source) {
    std::erase_if(sources_, [&source](const auto& each) { return each.get() == &source; });
  }
  /// Of the present batch.
  [[nodiscard]] time_point now() const noexcept { return now_; }

  void begin();
  void end();
  /// `part` takes part in the present batch.
  void touch(std::shared_ptr<batched> part);

  /// Runs `work` on this thread, in a batch: at once when called there, else soon.
  template <class Work>
  void run(Work&& work);
  /// Runs `work` on this thread soon, in no batch. From any thread. Once the worker has stopped, or stops before it
  /// came to it, the work is destroyed instead: what must not be lost by that is told by a destructor.
  template <class Work>
  void post(Work&& work);

  /// Whether a caller's own call is on the stack: completions must not run inside it.
  [[nodiscard]] bool initiating() const noexcept { return initiating_; }

  /// Ends the thread behind what is queued, and drops what that queued. Not from the thread itself.
  void stop();

private:
  void place(const thread_plan& plan);
  void run_until_stopped();
  void look_around();
  bool run_handlers();
  bool next_turn();
  [[nodiscard]] bool look();
  [[nodiscard]] bool arm_sources();
  void settle();
  bool let_slices_go();

  /// Its queued handlers hold links, and so the fabric: they must go before the context can.
  struct context_type : boost::asio::io_context {
    using io_context::io_context;
    void drop_handlers() { shutdown(); }
  };

  static inline thread_local const worker* current_ = nullptr;

  context_type context_{1};
  boost::asio::io_context::executor_type executor_ = context_.get_executor();
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  /// A rail that channels of this thread were on.
  struct carrier {
    carrier(const lanes::host_board& of, const rail& which, const tunables& limits, std::uint64_t budget)
        : says(which.says), board(of, which.slot),
          scheduler(lanes::policies_of(limits, carried(limits, says)), board, budget),
          limit(scheduler.under_way().state().limit) {}

    const bytes_per_second says; ///< its rate, as it says
    lanes::host_board board;
    lanes::scheduler scheduler;
    std::atomic<std::uint64_t> limit;
    std::atomic<std::uint64_t> bytes = 0;
  };

  const poll_mode poll_;
  const duration spin_;
  const bool realtime_;
  tunables limits_;
  lanes::host_board& board_;
  std::vector<std::unique_ptr<carrier>> carriers_;
  std::array<std::atomic<carrier*>, rails::most> by_slot_{}; ///< of these
  lag_counters pickups_;                                     ///< of operations that other threads began
  due_timer rail_timer_;
  std::vector<std::shared_ptr<path::event_source>> sources_;
  std::vector<std::shared_ptr<batched>> touched_;
  time_point now_{};
  int depth_ = 0;
  int channels_ = 0;
  bool initiating_ = false;
  bool ending_ = false;  ///< the thread is to end
  bool again_ = false;   ///< the scheduler needs another batch
  bool polling_ = false; ///< run_handlers is on the stack
  std::atomic<bool> stopped_ = false;
  std::atomic<bool> posted_ = false; ///< work waits that post() was given
  std::atomic<int> posting_ = 0;     ///< calls of post() that may not know yet that it has stopped
  std::vector<std::string> complaints_;
  std::atomic<int> id_ = 0; ///< of the thread, as the kernel has it
  std::thread thread_;
};

} // namespace weft::fabrics

#include <boost/asio/post.hpp>

namespace weft::fabrics {

template <class Work>
void worker::run(Work&& work) {
  if (here()) {
    const bool outer = std::exchange(initiating_, true);
    begin();
    work();
    end();
    initiating_ = outer;
    return;
  }
  post([this, work = std::forward<Work>(work)]() mutable {
    begin();
    work();
    end();
  });
}

template <class Work>
void worker::post(Work&& work) {
  ++posting_;
  if (!stopped_) {
    boost::asio::post(context_, std::forward<Work>(work));
    posted_ = true;
  }
  --posting_;
}

} // namespace weft::fabrics
