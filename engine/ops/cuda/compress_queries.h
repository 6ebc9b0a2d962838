// Compresses a chunk's queries for the scoring of digests, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ops/cuda/kernels/compress_queries.h"
#include "engine/ops/cuda/workspace.h"
#include "engine/ops/rope.h"

namespace keyhole::cuda {

struct CompressQueriesParams {
  const float* queries = nullptr;  // [q_len, n_heads, head_dim], un-rotated, device
  std::int32_t q_len = 0;
  std::int32_t span = 1;         // queries whose mean is a probe; see engine/ops/probe_span.h
  std::int8_t* codes = nullptr;  // [n_probes, n_queries, rank], device
  float* scales = nullptr;       // [n_probes, n_queries]: from product of codes to s
};

// Of one layer, for all sequences. A probe has n_queries queries of in_dim values: in_dim /
// head_dim heads after one another, each the sum of as many query heads as there are for it.
// Query j is multiplied by the map of group j * n_groups / n_queries.
struct QueryMap {
  const float* map = nullptr;  // [n_groups, rank, in_dim], device
  std::int32_t n_groups = 0;
  std::int32_t rank = 0;
  std::int32_t in_dim = 0;
  std::int32_t n_queries = 0;
  std::int32_t n_heads = 0;
  std::int32_t head_dim = 0;
  RopeRows distance = {};  // the one row that probes are rotated by, device
  float softmax_scale = 0;
};

// Codes of a query are in [-127, 127], by its largest value; its scale is 0 if all are 0. Within
// 1e-5 relative of the formula, and a code next to a rounding border may differ by one. A
// sequence's result depends on its own numbers alone. REQUIRES: in_dim at most 4096, rank at most
// 512, n_heads a multiple of the heads of all queries. Throws std::logic_error otherwise,
// DeviceError.
void CompressQueries(const QueryMap& map,
                     std::span<const CompressQueriesParams> sequences,
                     Workspace& workspace);

// Arguments of the launches of all layers of a step, which differ in `map`.
CompressQueriesArgs PlanCompressQueries(const QueryMap& map,
                                        std::span<const CompressQueriesParams> sequences,
                                        Workspace& workspace);

}  // namespace keyhole::cuda
