#include "engine/device/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace keyhole {
namespace {

using Task = absl::FunctionRef<void(std::int64_t task)>;

constexpr int kWorkerSpins = 20'000;  // tens of microseconds: longer than the gaps inside a step
constexpr int kCallerSpins = 2'000;   // then the last task's thread may need this core

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

// A task is claimed by lowering `remaining`. Whoever claims one may read `task` and `n_tasks`: the
// call cannot return, and so the next cannot begin, before that task is done. A late worker finds
// nothing to claim and touches nothing.
struct ThreadPool::State {
  alignas(64) std::atomic<std::int64_t> remaining{0};
  alignas(64) std::atomic<std::int64_t> done{0};
  alignas(64) std::atomic<std::uint32_t> signal{0};  // changes with each call
  std::atomic<bool> stop{false};
  std::atomic<bool> busy{false};
  const Task* task = nullptr;
  std::int64_t n_tasks = 0;
  std::vector<std::thread> workers;

  void RunTasks();
  void WorkerLoop();
  void Wake();
};

void ThreadPool::State::RunTasks() {
  std::int64_t left = remaining.load(std::memory_order_acquire);
  while (left > 0) {
    if (!remaining.compare_exchange_weak(
            left, left - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      continue;
    }
    (*task)(n_tasks - left);
    done.fetch_add(1, std::memory_order_release);
    left = remaining.load(std::memory_order_acquire);
  }
}

void ThreadPool::State::WorkerLoop() {
  std::uint32_t seen = 0;
  while (!stop.load(std::memory_order_acquire)) {
    int spins = 0;
    while (signal.load(std::memory_order_acquire) == seen && spins < kWorkerSpins) {
      Pause();
      ++spins;
    }
    if (spins == kWorkerSpins) signal.wait(seen, std::memory_order_acquire);
    seen = signal.load(std::memory_order_acquire);
    RunTasks();
  }
}

void ThreadPool::State::Wake() {
  signal.fetch_add(1, std::memory_order_acq_rel);
  signal.notify_all();
}

ThreadPool::ThreadPool(int n_threads) : state_(std::make_unique<State>()) {
  if (n_threads <= 0) n_threads = static_cast<int>(std::thread::hardware_concurrency());
  for (int i = 1; i < n_threads; ++i) {
    state_->workers.emplace_back([state = state_.get()] { state->WorkerLoop(); });
  }
}

ThreadPool::~ThreadPool() {
  state_->stop.store(true, std::memory_order_release);
  state_->Wake();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::n_threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::ParallelFor(std::int64_t n_tasks, Task task) {
  State& state = *state_;
  const bool alone = n_tasks <= 1 || state.workers.empty();
  if (alone || state.busy.exchange(true, std::memory_order_acquire)) {
    for (std::int64_t i = 0; i < n_tasks; ++i) task(i);
    return;
  }
  state.task = &task;
  state.n_tasks = n_tasks;
  state.done.store(0, std::memory_order_relaxed);
  state.remaining.store(n_tasks, std::memory_order_release);
  state.Wake();
  state.RunTasks();
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
