// Now and then compares a selection with the one that exact scores would have made.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ops/top_k.h"
#include "engine/selection/exact_scorer.h"
#include "engine/selection/selection.h"

namespace keyhole {

// Looks at every `interval`-th decode selection, or with many candidates at one of as many more, so
// that samples take about the same share of the time at every length. Successive samples fall on
// different layers as long as the interval and the number of layers have no common factor. Changes
// no result. Thread: executor only.
class RecallSampler {
 public:
  // REQUIRES: parts.store; parts.recall_interval > 0.
  explicit RecallSampler(const PolicyParts& parts);

  void Sample(Device& device,
              const SelectionContext& context,
              const Selection& selection,
              StepSelectionStats& stats);

 private:
  std::int64_t UntilNext(std::int32_t n_candidates);
  RecallSample Compare(Device& device, const SelectionContext& context, const Selection& selection);

  ExactScorer scorer_;
  std::int32_t interval_;
  std::int32_t proximity_;
  std::int64_t until_next_;
  std::int32_t shift_ = 0;

  // Reused from sample to sample.
  std::vector<float> scores_;
  std::vector<float> pooled_;
  std::vector<std::int32_t> rows_;
  TopKWorkspace top_k_;
};

}  // namespace keyhole
