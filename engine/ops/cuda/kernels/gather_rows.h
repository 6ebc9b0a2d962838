// Copies scattered rows, host memory among them, into consecutive ones.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/row_place.h"

namespace keyhole::cuda {

constexpr std::int32_t kGatherPiece = 8;  // bytes that rows are made of

struct GatherSequence {
  RowPlace from;                        // pinned host memory, which the device reads directly
  const std::int32_t* pages = nullptr;  // page table of the sequence
  const std::int32_t* rows = nullptr;   // [n]
  const std::int32_t* slots = nullptr;  // [n]: where row i goes; null: to i
  std::int32_t n = 0;
  unsigned char* to = nullptr;  // [most slots, row_bytes], device memory, 16-byte aligned
};

struct GatherRowsArgs {
  const GatherSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_rows = 0;
  std::int32_t layer = 0;
  std::int32_t row_bytes = 0;   // a multiple of kGatherPiece
  std::int32_t max_blocks = 0;  // of a sequence: enough to fill the bus, no more

  bool operator==(const GatherRowsArgs&) const = default;
};

cudaError_t LaunchGatherRows(const GatherRowsArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
