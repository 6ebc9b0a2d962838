// Means of queries, rotated to one distance, multiplied by a map and quantised.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace keyhole::cuda {

constexpr std::int32_t kMaxInDim = 4096;
constexpr std::int32_t kMaxRank = 512;

struct CompressSequence {
  const float* queries = nullptr;  // [q_len, n_heads, head_dim], un-rotated
  std::int32_t q_len = 0;
  std::int32_t span = 1;  // queries of a probe
  std::int32_t n_probes = 0;
  std::int8_t* codes = nullptr;  // [n_probes, n_queries, rank]
  float* scales = nullptr;       // [n_probes, n_queries]
};

struct CompressQueriesArgs {
  const CompressSequence* sequences = nullptr;  // [n_sequences]
  std::int32_t n_sequences = 0;
  std::int32_t max_probes = 0;
  std::int32_t n_heads = 0;
  std::int32_t head_dim = 0;
  std::int32_t n_queries = 0;  // of a probe
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;
  std::int32_t in_dim = 0;     // of a query, whole heads
  const float* map = nullptr;  // [n_groups, rank, in_dim]
  const float* cos = nullptr;  // [head_dim / 2]
  const float* sin = nullptr;
  float scale = 0;

  bool operator==(const CompressQueriesArgs&) const = default;
};

cudaError_t LaunchCompressQueries(const CompressQueriesArgs& args, cudaStream_t stream);

}  // namespace keyhole::cuda
