// What ops compute with: the pool of threads and the instruction set to use.
#pragma once

#include "engine/device/cpu_features.h"
#include "engine/device/thread_pool.h"

namespace keyhole {

// Owner: the model executor. Thread: executor only.
class Device {
 public:
  explicit Device(int n_threads, CpuLevel level = DetectCpuLevel())
      : pool_(n_threads), level_(level) {}

  ThreadPool& pool() { return pool_; }
  CpuLevel cpu_level() const { return level_; }

 private:
  ThreadPool pool_;
  CpuLevel level_;
};

}  // namespace keyhole
