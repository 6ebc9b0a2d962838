// Scores of candidate rows from their digests.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/digest_place.h"

namespace keyhole::cuda {

enum class ScoreRule {
  kVote,   // max over probes of the sum over heads of softmax over the candidates
  kShift,  // max over probes and heads of the product less its maximum over the candidates
};

// Of one query over a span of candidates.
struct alignas(8) ScoreState {
  std::int32_t top;  // largest product of codes
  float sum;         // of 2^(scale * (product - top)), scale in logarithms of base 2
};

struct ScoreSequence {
  DigestPlace digests;
  const std::int32_t* pages = nullptr;  // page table of the sequence
  std::int32_t begin = 0;               // the candidates are the rows [begin, end)
  std::int32_t end = 0;
  std::int32_t n_probes = 0;
  const std::int8_t* queries = nullptr;  // [n_probes, n_heads, rank], 16-byte aligned
  const float* scales = nullptr;         // [n_probes, n_heads]: from product of codes to s, >= 0
  float* out = nullptr;                  // [end - begin]
  std::int32_t span_tokens = 0;          // of a span of the first pass; see score_spans.h
  std::int32_t n_spans = 0;
  ScoreState* parts = nullptr;   // [n_probes * n_heads, n_spans]: workspace
  ScoreState* totals = nullptr;  // [n_probes * n_heads]: workspace; sum becomes its logarithm
};

struct ScoreRowsArgs {
  const ScoreSequence* sequences = nullptr;  // [n_sequences], of the same sizes
  std::int32_t n_sequences = 0;
  std::int32_t max_spans = 0;       // of a sequence
  std::int32_t max_queries = 0;     // n_probes * n_heads
  std::int32_t max_candidates = 0;  // from the block of 16 tokens that holds the first
  std::int32_t slot = 0;            // of the layer
  std::int32_t n_heads = 0;         // head h meets group h * n_groups / n_heads
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;
  ScoreRule rule = ScoreRule::kVote;

  bool operator==(const ScoreRowsArgs&) const = default;
};

// Two passes over the digests: maxima and sums per query, merged in an order that the number of
// spans decides; then the scores. Products of codes are exact integers.
cudaError_t LaunchScoreRows(const ScoreRowsArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
