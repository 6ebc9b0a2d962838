// Writes new keys and values into rows.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/row_place.h"

namespace keyhole::cuda {

struct AppendKvSequence {
  RowPlace rows;                        // each K of all heads, then V of all heads
  const std::int32_t* pages = nullptr;  // page table of the sequence
  std::int32_t first = 0;               // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;    // [n_tokens, kv_size], 16-byte aligned
  const float* values = nullptr;  // the same
};

struct AppendKvArgs {
  const AppendKvSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_tokens = 0;  // of a sequence
  std::int32_t layer = 0;
  std::int32_t kv_size = 0;  // n_kv_heads * head_dim, a multiple of 8
  std::int32_t head_dim = 0;
  Element type = Element::kBF16;

  bool operator==(const AppendKvArgs&) const = default;
};

// Rounds to the element type, to nearest even. Heads of int8 have a scale of their own.
cudaError_t LaunchAppendKv(const AppendKvArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
