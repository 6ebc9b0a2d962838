// Scores of candidate rows from their digests, on the accelerator.
#pragma once

#include <cstdint>
#include <span>

#include "engine/kv/row_range.h"
#include "engine/ops/cuda/device_rows.h"
#include "engine/ops/cuda/kernels/score_rows.h"
#include "engine/ops/cuda/kernels/score_spans.h"
#include "engine/ops/cuda/workspace.h"

namespace keyhole::cuda {

struct ScoreRowsParams {
  DigestPages store = {};
  DevicePageTable pages = {};
  RowRange rows = {};  // the candidates
  std::int32_t n_probes = 0;
  const std::int8_t* queries = nullptr;  // [n_probes, n_heads, rank], device, 16-byte aligned
  const float* scales = nullptr;         // [n_probes, n_heads]: from product of codes to s, >= 0
  float* out = nullptr;                  // [rows.size()], device
};

// What all sequences of a call share.
struct ScoreSettings {
  std::int32_t slot = 0;  // of the layer
  ScoreRule rule = ScoreRule::kVote;
  std::int32_t n_heads = 0;  // queries of a probe; head h meets group h * n_groups / n_heads
};

// As keyhole::ScoreRows: kShift bit for bit, kVote to 1e-5 relative. A sequence's scores depend on
// its own numbers alone. Nothing of the size probes x candidates is kept. REQUIRES: every candidate
// lies in `pages`, one layout, n_heads is a multiple of its n_groups. Throws std::logic_error
// otherwise, DeviceError.
void ScoreRows(const ScoreSettings& settings,
               std::span<const ScoreRowsParams> sequences,
               Workspace& workspace);

// Arguments of the launches of all layers of a step, which differ in `slot`.
ScoreRowsArgs PlanScoreRows(const ScoreSettings& settings,
                            std::span<const ScoreRowsParams> sequences,
                            Workspace& workspace);

}  // namespace keyhole::cuda
