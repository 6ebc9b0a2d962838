// What ops compute with: the pool of threads, the instruction set to use, scratch memory, a trace.
#pragma once

#include <cstddef>

#include "engine/device/aligned_buffer.h"
#include "engine/device/cpu_features.h"
#include "engine/device/thread_pool.h"
#include "engine/device/trace.h"
#include "engine/device/weight_memory.h"

namespace keyhole {

// Owner: the model executor. Thread: executor; its compute threads too while they run a task of
// its, but for Scratch and the setters.
class Device {
 public:
  explicit Device(int n_threads, CpuLevel level = DetectCpuLevel())
      : pool_(n_threads), level_(level) {}

  ThreadPool& pool() { return pool_; }
  CpuLevel cpu_level() const { return level_; }

  WeightMemory& weight_memory() { return weight_memory_; }

  // Null: none is written. What is set outlives the device.
  Trace* trace() const { return trace_; }
  void set_trace(Trace* trace) { trace_ = trace; }

  // At least `bytes`, for the operator that is running; the next one overwrites it.
  // Throws std::bad_alloc where memory is short.
  std::byte* Scratch(std::size_t bytes);

 private:
  ThreadPool pool_;
  CpuLevel level_;
  WeightMemory weight_memory_;
  Trace* trace_ = nullptr;
  AlignedBuffer scratch_;
};

}  // namespace keyhole
