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

std::span<float> Sized(std::vector<float>& buffer, std::size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return {buffer.data(), size};
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
  const Candidates candidates = stages_.scorer->Prepare(device, context, selection.middle, layer);
  const std::span<float> scores = Sized(scores_, candidates.rows.size());
  stages_.scorer->Score(device, context, candidates, layer, scores);
  layer.scored += candidates.rows.size();
  {
    const ScopedTimer timer(&layer[SelectionStage::kTopK]);
    const TraceSpan span(device.trace(), "top_k");
    TakeBest(device, context, candidates, scores, selection);
  }
  if (stages_.recall != nullptr && context.stats != nullptr) {
    const TraceSpan span(device.trace(), "recall");
    stages_.recall->Sample(device, context, selection, *context.stats);
  }
}

void StagedPolicy::TakeBest(Device& device,
                            const SelectionContext& context,
                            const Candidates& candidates,
                            std::span<const float> scores,
                            Selection& selection) {
  const std::int32_t budget = context.sizes.selected;
  if (candidates.blocks.empty()) {
    const std::span<float> pooled = Sized(pooled_, scores.size());
    MaxPool(device, scores, stages_.proximity, pooled);
    TopK(device, pooled, budget, selection.middle.begin, top_k_, selection.selected);
    return;
  }
  WidenRuns(candidates, scores, selection.middle, stages_.proximity, runs_);
  const std::span<float> pooled = Sized(pooled_, runs_.scores.size());
  MaxPool(device, runs_.scores, runs_.borders, stages_.proximity, pooled);
  TopK(device, pooled, budget, 0, top_k_, selection.selected);
  for (std::int32_t& place : selection.selected) place = runs_.rows[place];
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
