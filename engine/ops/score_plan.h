// How the scoring of some sequences is cut into tiles and spans, and their queries packed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/cpu/selection_kernels.h"
#include "engine/ops/score_rows.h"

namespace keyhole {

constexpr std::int32_t kScoreBatchProbes = 8;  // whose votes are summed side by side

struct ScoreSequence {
  const ScoreRowsParams* params = nullptr;
  std::int32_t first_block = 0;  // of 16 tokens, counted from the sequence's first token
  std::int32_t end_block = 0;
  std::int32_t n_tiles = 0;
  std::int32_t n_queries = 0;
  std::int32_t query_begin = 0;  // in ScorePlan::scales
  std::int32_t chunk_begin = 0;
  std::int32_t chunk_end = 0;
  // One probe's votes: the terms of the softmax are kept, not computed twice.
  bool keeps = false;
  std::int64_t kept = 0;        // first float of [n_tiles][n_heads][kScoreStride]
  std::int32_t n_parts = 0;     // of the candidates, each with states of its own
  std::int64_t part_begin = 0;  // first state of [n_parts][n_queries]
};

// Tiles that one task takes one after another.
struct ScoreSpan {
  std::int32_t sequence = 0;
  std::int32_t tile_begin = 0;
  std::int32_t tile_end = 0;
  std::int32_t part = 0;  // first one: one for each tile if terms are kept, else one for all
};

struct ScorePlan {
  std::vector<ScoreSequence> sequences;  // without those that have no candidates
  std::vector<ScoreSpan> spans;
  std::vector<ScoreChunk> chunks;
  std::vector<std::int32_t> codes;  // of all chunks, as the kernels take them
  std::vector<std::int32_t> starts;
  std::vector<float> scales;         // of a vote: to logarithms of base 2
  std::vector<std::int32_t> probes;  // of each query, within its batch
  std::int64_t n_states = 0;
  std::int64_t n_kept = 0;  // floats
};

// Depends on each sequence's own numbers and the kernels alone. Reuses the memory of `plan`.
void PlanScores(std::span<const ScoreRowsParams> sequences,
                const ScoreKernels& kernels,
                ScorePlan& plan);

// Floats that the kept terms of a sequence take; 0 if it keeps none.
std::int64_t KeptFloats(const ScoreRowsParams& params);

}  // namespace keyhole
