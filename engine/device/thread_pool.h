// The one pool of compute threads.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"

namespace keyhole {

// The calling thread takes part. Workers spin briefly after a call before they sleep, since the next one of a step
// follows within microseconds.
// Thread: ParallelFor from one thread at a time (the executor).
class ThreadPool {
 public:
  explicit ThreadPool(int n_threads);  // 0: all cores
  ~ThreadPool();

  int n_threads() const;

  // Runs task(0) ... task(n_tasks - 1), each once, in any order; returns when all are done.
  // Results must not depend on which thread runs a task.
  void ParallelFor(std::int64_t n_tasks, absl::FunctionRef<void(std::int64_t task)> task);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace keyhole
