// The two passes of scoring over a span of tiles, and what is merged between them.
#pragma once

#include "engine/ops/score_plan.h"

namespace keyhole {

struct ScoreBuffers {
  float* kept = nullptr;         // [plan.n_kept]
  ScoreState* parts = nullptr;   // [plan.n_states]
  ScoreState* totals = nullptr;  // [all queries]: largest score; 1 / sum of the terms
  float* weights = nullptr;      // [plan.n_states]: factor of a part's terms
};

class ScorePasses {
 public:
  ScorePasses(const SelectionKernels& kernels, const ScorePlan& plan, const ScoreBuffers& buffers)
      : kernels_(kernels), plan_(plan), buffers_(buffers) {}

  // Maxima and sums of the span's parts.
  void Reduce(const ScoreSpan& span) const;
  // Those of a whole sequence, parts in order.
  void Merge(const ScoreSequence& sequence) const;
  // The scores.
  void Write(const ScoreSpan& span) const;

 private:
  void ReduceTile(const ScoreSequence& sequence, std::int32_t tile, ScoreState* states) const;
  void WriteTile(const ScoreSequence& sequence, const ScoreTile& tile, float* out) const;
  void AddVotes(const ScoreSequence& sequence, const ScoreTile& tile, float* out) const;

  const SelectionKernels& kernels_;
  const ScorePlan& plan_;
  const ScoreBuffers buffers_;
};

}  // namespace keyhole
