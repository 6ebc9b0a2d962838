// Stride-1 maximum over a neighbourhood, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ops/cuda/kernels/max_pool.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

// As keyhole::MaxPool, bit for bit, for every sequence (device memory). REQUIRES: eps >= 0, `out`
// is not `in`, no NaN. Throws std::logic_error otherwise, DeviceError.
void MaxPool(std::int32_t eps, std::span<const MaxPoolSequence> sequences, Workspace& workspace);

// Arguments of the launches of all layers of a step.
MaxPoolArgs PlanMaxPool(std::int32_t eps,
                        std::span<const MaxPoolSequence> sequences,
                        Workspace& workspace);

}  // namespace keyhole::cuda
