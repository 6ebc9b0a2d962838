#include "engine/selection/staged_policy.h"

#include <algorithm>
#include <utility>

#include "engine/ops/max_pool.h"
#include "engine/scoped_timer.h"

namespace keyhole {
namespace {

LayerSelection& LayerOf(StepSelectionStats& stats, std::int32_t layer) {
  const auto index = static_cast<std::size_t>(layer);
  if (stats.layers.size() <= index) stats.layers.resize(index + 1);
  return stats.layers[index];
}

}  // namespace

StagedPolicy::StagedPolicy(const PolicyTraits& traits, Stages stages)
    : traits_(traits), stages_(std::move(stages)) {}

absl::StatusOr<Selection> StagedPolicy::Select(Device& device, const SelectionContext& context) {
  Selection selection = Partition(context.past, context.sizes);
  LayerSelection unseen;
  LayerSelection& layer =
      context.stats == nullptr ? unseen : LayerOf(*context.stats, context.layer);
  if (selection.middle.empty()) return selection;
  if (selection.middle.size() <= context.sizes.selected) {
    selection.all_of_middle = true;
  } else if (context.sizes.selected > 0 && stages_.scorer->Selects(context.layer)) {
    Choose(device, context, layer, selection);
  }
  layer.candidates += selection.middle.size();
  layer.selected += selection.n_selected();
  return selection;
}

void StagedPolicy::Choose(Device& device,
                          const SelectionContext& context,
                          LayerSelection& layer,
                          Selection& selection) {
  const auto n = static_cast<std::size_t>(selection.middle.size());
  scores_.resize(std::max(scores_.size(), n));
  pooled_.resize(std::max(pooled_.size(), n));
  const std::span scores(scores_.data(), n);
  const std::span pooled(pooled_.data(), n);
  stages_.scorer->Score(device, context, selection.middle, layer, scores);
  {
    const ScopedTimer timer(&layer[SelectionStage::kTopK]);
    const TraceSpan span(device.trace(), "top_k");
    MaxPool(device, scores, stages_.proximity, pooled);
    TopK(
        device, pooled, context.sizes.selected, selection.middle.begin, top_k_, selection.selected);
  }
  layer.scored = true;
  if (stages_.recall != nullptr && context.stats != nullptr) {
    const TraceSpan span(device.trace(), "recall");
    stages_.recall->Sample(device, context, selection, *context.stats);
  }
}

void StagedPolicy::OnAppend(Device& device, std::span<const AppendContext> sequences) {
  stages_.scorer->OnAppend(device, sequences);
}

std::unique_ptr<SelectionPolicy> MakeStagedPolicy(const PolicyTraits& traits,
                                                  const PolicyParts& parts,
                                                  std::unique_ptr<RowScorer> scorer) {
  StagedPolicy::Stages stages;
  stages.scorer = std::move(scorer);
  stages.proximity = parts.proximity;
  if (parts.store != nullptr && parts.recall_interval > 0) {
    stages.recall = std::make_unique<RecallSampler>(parts);
  }
  return std::make_unique<StagedPolicy>(traits, std::move(stages));
}

}  // namespace keyhole
