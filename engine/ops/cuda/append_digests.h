// Compresses new keys and writes their digests, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/append_digests.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct AppendDigestsParams {
  DigestPages store = {};
  DevicePageTable pages = {};
  std::int32_t first = 0;  // row of the first token
  std::int32_t n_tokens = 0;
  const float* keys = nullptr;  // [n_tokens, n_groups, in_dim], un-rotated, device
};

// Of one layer, for all sequences.
struct DigestMap {
  std::int32_t slot = 0;
  const float* map = nullptr;  // [n_groups, rank, in_dim], device
  std::int32_t in_dim = 0;
};

// As keyhole::AppendDigests, but sums run in another order: a code next to a rounding border may
// differ by one. REQUIRES: one layout. Throws std::logic_error otherwise, DeviceError.
void AppendDigests(const DigestMap& map,
                   std::span<const AppendDigestsParams> sequences,
                   Workspace& workspace);

// Arguments of the launches of all layers of a step, which differ in `slot` and `map`.
AppendDigestsArgs PlanAppendDigests(const DigestMap& map,
                                    std::span<const AppendDigestsParams> sequences,
                                    Workspace& workspace);

}  // namespace keyhole::cuda
