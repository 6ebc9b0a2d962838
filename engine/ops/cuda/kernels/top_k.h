// The k largest of many scores, exactly.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/radix.h"

namespace keyhole::cuda {

constexpr std::int32_t kTopKSegment = 4096;  // scores of one block

// Of digits, by passes, then of blocks that are done.
constexpr std::int32_t kTopKCounts = kRadixPasses * kRadixBins + 1;

// A score that may be one of the k largest once the first digit of the k-th is known.
struct alignas(8) TopKSurvivor {
  std::uint32_t key;
  std::int32_t j;
};

// What the first digit leaves to the others.
struct TopKRest {
  RadixState state;
  std::int32_t n_survivors;
};

struct TopKSequence {
  const float* scores = nullptr;  // [n], no NaN, 16-byte aligned
  std::int32_t n = 0;
  std::int32_t k = 0;  // at most n
  std::int32_t first = 0;
  std::int32_t* rows = nullptr;  // [k]: first + j, ascending
  // Workspace, by segments, n / kTopKSegment rounded up of them:
  TopKSurvivor* survivors = nullptr;  // [n]: a segment's first, in their order
  std::int32_t* n_survivors = nullptr;
};

struct TopKArgs {
  const TopKSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_n = 0;
  std::uint32_t* counts = nullptr;  // [n_sequences, kTopKCounts]: zeros, before a launch and after
  TopKRest* rests = nullptr;        // [n_sequences]: workspace

  bool operator==(const TopKArgs&) const = default;
};

// Radix selection in three kernels: the first digits of all scores are counted; those that reach
// the first digit of the k-th largest are kept; one block finds its other digits among these and
// writes the rows in their order. Where many are kept, others help with the second digit first.
// Ties go to the smaller row. Counts are integers, so that no order of blocks matters.
cudaError_t LaunchTopK(const TopKArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
