#include "engine/calibration/tensor_tasks.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <exception>
#include <mutex>

namespace keyhole {

void ParallelTensorTasks(Device& device,
                         std::int64_t n_tasks,
                         absl::FunctionRef<void(std::int64_t task)> task) {
  std::mutex mutex;
  std::exception_ptr error;
  at::set_num_threads(1);
  device.pool().ParallelFor(n_tasks, [&](std::int64_t i) {
    try {
      // Both hold for the thread that asks.
      at::init_num_threads();
      const c10::InferenceMode no_gradients;
      task(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
    }
  });
  if (error) std::rethrow_exception(error);
}

}  // namespace keyhole
