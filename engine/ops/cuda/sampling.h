// What sampling needs of rows of logits, on the accelerator.
#pragma once

#include "engine/device/stream.h"
#include "engine/ops/cuda/kernels/sampling.h"

namespace keyhole::cuda {

// Throw std::logic_error for missing arrays, DeviceError. Memory is the device's; logits are
// finite.
void ArgMax(const Stream& stream, const ArgMaxArgs& args);
void Softmax(const Stream& stream, const SoftmaxArgs& args);

}  // namespace keyhole::cuda
