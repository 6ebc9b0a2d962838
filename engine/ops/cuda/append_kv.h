// Writes new keys and values into KV pages, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/append_kv.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct AppendKvParams {
  KvPages store = {};
  DevicePageTable pages = {};
  std::int32_t first = 0;  // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;    // [n_tokens, n_kv_heads, head_dim], device, 16-byte aligned
  const float* values = nullptr;  // the same shape
};

// As keyhole::AppendKv, bit for bit; `layer` of all sequences. REQUIRES: one layout; kv_size is a
// multiple of 8, head_dim of int8 one of 4. Throws std::logic_error otherwise, DeviceError.
void AppendKv(std::int32_t layer, std::span<const AppendKvParams> sequences, Workspace& workspace);

// Arguments of the launches of all layers of a step, which differ in `layer` alone. Good until the
// workspace's next upload.
AppendKvArgs PlanAppendKv(std::span<const AppendKvParams> sequences, Workspace& workspace);

}  // namespace keyhole::cuda
