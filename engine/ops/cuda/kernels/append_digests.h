// Compresses new keys and writes their digests.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/digest_place.h"

namespace keyhole::cuda {

struct AppendDigestsSequence {
  DigestPlace digests;
  const std::int32_t* pages = nullptr;  // page table of the sequence
  std::int32_t first = 0;               // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;  // [n_tokens, n_groups, in_dim], un-rotated
};

struct AppendDigestsArgs {
  const AppendDigestsSequence* sequences = nullptr;  // [n_sequences], of the same sizes
  std::int32_t n_sequences = 0;
  std::int32_t max_tokens = 0;  // of a sequence
  std::int32_t slot = 0;        // of the layer
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;  // a multiple of 4
  std::int32_t in_dim = 0;
  const float* map = nullptr;  // [n_groups, rank, in_dim]

  bool operator==(const AppendDigestsArgs&) const = default;
};

// code = clamp(round to nearest even(map . key), -127, 127); each sum runs over the lanes of a warp
// in one order.
cudaError_t LaunchAppendDigests(const AppendDigestsArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
