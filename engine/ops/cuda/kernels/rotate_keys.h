// Copies keys from rows into rings, rotated to their own positions.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/row_place.h"

namespace keyhole::cuda {

struct RotateKeysSequence {
  RowPlace from;                        // un-rotated keys
  const std::int32_t* pages = nullptr;  // page table of the sequence
  RowPlace to;                          // a ring of this layer
  std::int32_t begin = 0;               // first row
  std::int32_t n_rows = 0;
};

struct RotateKeysArgs {
  const RotateKeysSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_rows = 0;  // of a sequence
  std::int32_t layer = 0;
  std::int32_t n_heads = 0;
  std::int32_t half = 0;       // head_dim / 2
  const float* cos = nullptr;  // [n_positions, half]: row r turns by row r
  const float* sin = nullptr;
  Element type = Element::kBF16;

  bool operator==(const RotateKeysArgs&) const = default;
};

// No product is fused with a sum: the bits are those of separate roundings, as on the CPU.
cudaError_t LaunchRotateKeys(const RotateKeysArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
