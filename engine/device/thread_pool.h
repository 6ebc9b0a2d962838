// The one pool of compute threads.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace keyhole {

// The calling thread takes part. Each thread has a share of neighbouring tasks, which it runs in
// order; whoever is done helps the others from their end. Workers spin briefly after a call before
// they sleep, since the next one of a step follows within microseconds. Thread: ParallelFor from
// any thread; the pool serves one call at a time, and a call that finds it busy (from inside a
// task, or from another thread) runs its tasks itself, one after another.
class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);  // 0: all cores
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const;  // the calling thread included

  // Runs task(0) ... task(n_tasks - 1), each once, in any order; returns when all are done.
  // Results must not depend on which thread runs a task. Tasks must not throw.
  void ParallelFor(std::int64_t n_tasks, absl::FunctionRef<void(std::int64_t task)> task);

  // The same with a number in [0, n_threads) that no other task of this call has at that time.
  void ParallelFor(std::int64_t n_tasks,
                   absl::FunctionRef<void(std::int64_t task, int thread)> task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace keyhole
