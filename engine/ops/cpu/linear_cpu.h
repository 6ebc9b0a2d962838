// Linear on the CPU.
#pragma once

#include <cstdint>

#include "engine/device/device.h"
#include "engine/ops/cpu/linear_weights.h"

namespace keyhole {

struct LinearCpuParams {
  const LinearWeights* weights = nullptr;
  const float* x = nullptr;  // [n, n_in]
  std::int64_t n = 0;
  float* out = nullptr;  // [n, n_out]
};

void LinearCpu(Device& device, const LinearCpuParams& params);

}  // namespace keyhole
