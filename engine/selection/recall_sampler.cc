#include "engine/selection/recall_sampler.h"

#include <algorithm>
#include <iterator>

#include "engine/ops/max_pool.h"

namespace keyhole {

RecallSampler::RecallSampler(const PolicyParts& parts)
    : scorer_(parts),
      interval_(parts.recall_interval),
      proximity_(parts.proximity),
      until_next_(parts.recall_interval) {}

void RecallSampler::Sample(Device& device,
                           const SelectionContext& context,
                           const Selection& selection,
                           StepSelectionStats& stats) {
  if (context.q_len != 1 || --until_next_ > 0) return;
  until_next_ = UntilNext(selection.middle.size());
  stats.samples.push_back(Compare(device, context, selection));
}

// The longer a sample takes, the rarer it is; it moves on among the layers by more than a multiple
// of the interval, which may be one of their number.
std::int64_t RecallSampler::UntilNext(std::int32_t n_candidates) {
  constexpr std::int32_t kRowsOfAnInterval = 8192;
  constexpr std::int32_t kMostShift = 31;
  const std::int64_t intervals = n_candidates / kRowsOfAnInterval;
  if (intervals <= 1) return interval_;
  shift_ = (shift_ + 1) % kMostShift;
  return intervals * interval_ + shift_;
}

// With one probe the sum of a row's votes over all heads is its attention mass over the candidates.
RecallSample RecallSampler::Compare(Device& device,
                                    const SelectionContext& context,
                                    const Selection& selection) {
  const auto n = static_cast<std::size_t>(selection.middle.size());
  scores_.resize(n);
  pooled_.resize(n);
  LayerSelection unseen;
  scorer_.Score(device, context, {selection.middle}, unseen, scores_);
  MaxPool(device, scores_, proximity_, pooled_);
  TopK(device, pooled_, context.sizes.selected, selection.middle.begin, top_k_, rows_);

  std::vector<std::int32_t> common;
  std::set_intersection(rows_.begin(),
                        rows_.end(),
                        selection.selected.begin(),
                        selection.selected.end(),
                        std::back_inserter(common));
  double chosen = 0;
  for (const std::int32_t row : selection.selected) chosen += scores_[row - selection.middle.begin];
  double all = 0;
  for (const float score : scores_) all += score;
  return {.layer = context.layer,
          .overlap = static_cast<double>(common.size()) / static_cast<double>(rows_.size()),
          .mass = chosen / all};
}

}  // namespace keyhole
