#include "engine/device/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

namespace keyhole {
namespace {

using Task = absl::FunctionRef<void(std::int64_t task, int thread)>;

constexpr int kWorkerSpins = 20'000;  // tens of microseconds: longer than the gaps inside a step
constexpr int kCallerSpins = 2'000;   // then the last task's thread may need this core

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

// Tasks [first, last) that nobody has claimed yet, in one word.
struct Range {
  static constexpr int kHalf = 32;

  explicit Range(std::uint64_t word)
      : first(static_cast<std::uint32_t>(word >> kHalf)), last(static_cast<std::uint32_t>(word)) {}
  Range(std::int64_t first, std::int64_t last)
      : first(static_cast<std::uint32_t>(first)), last(static_cast<std::uint32_t>(last)) {}

  std::uint64_t word() const { return std::uint64_t{first} << kHalf | last; }

  std::uint32_t first;
  std::uint32_t last;
};

// The tasks of one thread. It claims them from the front, in order, so that neighbouring tasks stay
// on a thread and it can fetch the next one's memory ahead; others help from the back.
class alignas(64) Share {
 public:
  void Set(Range range) { left_.store(range.word(), std::memory_order_release); }

  std::optional<std::int64_t> ClaimFirst() {
    return Claim([](Range& range) { return range.first++; });
  }
  std::optional<std::int64_t> ClaimLast() {
    return Claim([](Range& range) { return --range.last; });
  }

 private:
  template <class Take>
  std::optional<std::int64_t> Claim(const Take& take) {
    std::uint64_t word = left_.load(std::memory_order_acquire);
    while (true) {
      Range range(word);
      if (range.first >= range.last) return std::nullopt;
      const std::uint32_t task = take(range);
      if (left_.compare_exchange_weak(
              word, range.word(), std::memory_order_acq_rel, std::memory_order_acquire)) {
        return task;
      }
    }
  }

  std::atomic<std::uint64_t> left_{0};
};

}  // namespace

// Whoever claims a task may read `task`: the call cannot return, and so the next cannot begin,
// before that task is done. A late worker finds nothing to claim and touches nothing.
struct ThreadPool::State {
  explicit State(int n_threads) : shares(n_threads) {}

  alignas(64) std::atomic<std::uint32_t> signal{0};  // changes with each call
  std::atomic<bool> stop{false};
  alignas(64) std::atomic<std::int64_t> done{0};
  alignas(64) std::atomic<bool> busy{false};
  const Task* task = nullptr;
  alignas(64) std::vector<Share> shares;  // [n_threads]; the first is the caller's
  std::vector<std::thread> workers;

  int n_threads() const { return static_cast<int>(shares.size()); }
  void RunTasks(int thread);
  void WorkerLoop(int thread);
  void Wake();
};

void ThreadPool::State::RunTasks(int thread) {
  std::int64_t n_run = 0;
  while (const std::optional<std::int64_t> next = shares[thread].ClaimFirst()) {
    (*task)(*next, thread);
    ++n_run;
  }
  for (int i = 1; i < n_threads(); ++i) {
    Share& other = shares[(thread + i) % n_threads()];
    while (const std::optional<std::int64_t> next = other.ClaimLast()) {
      (*task)(*next, thread);
      ++n_run;
    }
  }
  if (n_run > 0) done.fetch_add(n_run, std::memory_order_release);
}

void ThreadPool::State::WorkerLoop(int thread) {
  std::uint32_t seen = 0;
  while (!stop.load(std::memory_order_acquire)) {
    int spins = 0;
    while (signal.load(std::memory_order_acquire) == seen && spins < kWorkerSpins) {
      Pause();
      ++spins;
    }
    if (spins == kWorkerSpins) signal.wait(seen, std::memory_order_acquire);
    seen = signal.load(std::memory_order_acquire);
    RunTasks(thread);
  }
}

void ThreadPool::State::Wake() {
  signal.fetch_add(1, std::memory_order_acq_rel);
  signal.notify_all();
}

ThreadPool::ThreadPool(int n_threads) {
  if (n_threads <= 0) n_threads = static_cast<int>(std::thread::hardware_concurrency());
  state_ = std::make_unique<State>(n_threads);
  for (int i = 1; i < n_threads; ++i) {
    state_->workers.emplace_back([state = state_.get(), i] { state->WorkerLoop(i); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->Wake();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::n_threads() const { return state_->n_threads(); }

void ThreadPool::ParallelFor(std::int64_t n_tasks,
                             absl::FunctionRef<void(std::int64_t task)> task) {
  ParallelFor(n_tasks, [&](std::int64_t i, int) { task(i); });
}

void ThreadPool::ParallelFor(std::int64_t n_tasks, Task task) {
  State& state = *state_;
  const bool alone = n_tasks <= 1 || state.workers.empty();
  if (alone || state.busy.exchange(true, std::memory_order_acquire)) {
    for (std::int64_t i = 0; i < n_tasks; ++i) task(i, 0);
    return;
  }
  state.task = &task;
  state.done.store(0, std::memory_order_relaxed);
  for (int i = 0; i < state.n_threads(); ++i) {
    state.shares[i].Set({n_tasks * i / state.n_threads(), n_tasks * (i + 1) / state.n_threads()});
  }
  state.Wake();
  state.RunTasks(0);
  for (int spins = 0; state.done.load(std::memory_order_acquire) != n_tasks; ++spins) {
    if (spins < kCallerSpins) {
      Pause();
    } else {
      std::this_thread::yield();
    }
  }
  state.busy.store(false, std::memory_order_release);
}

}  // namespace keyhole
