// The k largest of many scores, exactly.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/radix.h"

namespace keyhole::cuda {

constexpr std::int32_t kTopKSegment = 4096;  // scores of one block

// How many of a segment's scores are larger than the k-th largest, and how many equal to it.
struct TopKCount {
  std::int32_t greater;
  std::int32_t equal;
};

// A score that may be one of the k largest once the first digit of the k-th is known.
struct TopKSurvivor {
  std::uint32_t key;
  std::int32_t j;
};

struct TopKSequence {
  const float* scores = nullptr;  // [n], no NaN
  std::int32_t n = 0;
  std::int32_t k = 0;  // at most n
  std::int32_t first = 0;
  std::int32_t* rows = nullptr;     // [k]: first + j, ascending
  std::uint32_t* counts = nullptr;  // [kRadixPasses, kRadixBins]: workspace
  RadixState* states = nullptr;     // [kRadixPasses]: workspace
  // Workspace, by segments, n / kTopKSegment rounded up of them:
  TopKSurvivor* survivors = nullptr;  // [n]: a segment's first, in their order
  std::int32_t* n_survivors = nullptr;
  TopKCount* segments = nullptr;
};

struct TopKArgs {
  const TopKSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_n = 0;
  std::uint32_t* counts = nullptr;  // [n_sequences, kRadixPasses, kRadixBins], of all sequences

  bool operator==(const TopKArgs&) const = default;
};

// Radix selection: the first pass over all scores finds the first digit of the k-th largest, the
// second keeps those that reach it, and only these are read by the rest: two more passes for the
// other digits, two that write the rows in their order. Ties go to the smaller row. Counts are
// integers, so that no order of blocks matters.
cudaError_t LaunchTopK(const TopKArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
