// Tasks that use LibTorch, on the one pool of compute threads.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "engine/device/device.h"

namespace keyhole {

// As ThreadPool::ParallelFor, with LibTorch kept to one thread in each task. Tasks may throw: one
// of the exceptions is thrown again when all are done.
void ParallelTensorTasks(Device& device,
                         std::int64_t n_tasks,
                         absl::FunctionRef<void(std::int64_t task)> task);

}  // namespace keyhole
