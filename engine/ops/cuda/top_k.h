// The k largest of many scores, exactly, on the accelerator.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "engine/ops/cuda/kernels/top_k.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct TopKParams {
  const float* scores = nullptr;  // [n], device, 16-byte aligned
  std::int32_t n = 0;
  std::int32_t k = 0;
  std::int32_t first = 0;
  std::int32_t* rows = nullptr;  // [TopKCountOf(n, k)], device
};

// How many rows come out: known without a look at the scores.
constexpr std::int32_t TopKCountOf(std::int32_t n, std::int32_t k) { return std::min(n, k); }

// As keyhole::TopK: first + j for the k largest scores[j], ascending; ties go to the smaller j.
// REQUIRES: k >= 0, no NaN. Throws std::logic_error for a negative k or scores that are not
// aligned, DeviceError.
void TopK(std::span<const TopKParams> sequences, Workspace& workspace);

// Arguments of the launches of all layers of a step, one after another.
TopKArgs PlanTopK(std::span<const TopKParams> sequences, Workspace& workspace);

}  // namespace keyhole::cuda
