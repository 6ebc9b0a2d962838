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

void CountRows(const SelectionContext& context, const Selection& selection) {
  if (context.stats == nullptr || selection.middle.empty()) return;
  LayerSelection& layer = LayerOf(*context.stats, context.layer);
  layer.candidates += selection.middle.size();
  layer.selected += selection.n_selected();
}

void AddTimes(const LayerSelection& from, LayerSelection& to) {
  for (std::size_t i = 0; i < kSelectionStages; ++i) to.seconds[i] += from.seconds[i];
  to.scored += from.scored;
}

// Another selection in the memory of the one before.
Selection& Renew(absl::StatusOr<Selection>& out, const SelectionContext& context) {
  std::vector<std::int32_t> rows;
  if (out.ok()) rows = std::move(out->selected);
  rows.clear();
  Selection& selection = out.emplace(Partition(context.past, context.sizes));
  selection.selected = std::move(rows);
  return selection;
}

std::span<float> Sized(std::vector<float>& buffer, std::size_t size) {
  if (buffer.size() < size) buffer.resize(size);
  return {buffer.data(), size};
}

}  // namespace

StagedPolicy::StagedPolicy(const PolicyTraits& traits, Stages stages)
    : traits_(traits), proximity_(stages.proximity), recall_(std::move(stages.recall)), lanes_(1) {
  lanes_.front().scorer = std::move(stages.scorer);
}

absl::StatusOr<Selection> StagedPolicy::Select(Device& device, const SelectionContext& context) {
  absl::StatusOr<Selection> selection;
  SelectEach(device, {&context, 1}, {&selection, 1});
  return selection;
}

void StagedPolicy::SelectEach(Device& device,
                              std::span<const SelectionContext> contexts,
                              std::span<absl::StatusOr<Selection>> out) {
  choices_.clear();
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    const SelectionContext& context = contexts[i];
    Selection& selection = Renew(out[i], context);
    if (selection.middle.empty()) continue;
    if (selection.middle.size() <= context.sizes.selected) {
      selection.all_of_middle = true;
    } else if (context.sizes.selected > 0 && lanes_.front().scorer->Selects(context.layer)) {
      choices_.push_back({&context, &selection, {}, nullptr});
    }
  }
  // Chunks keep all threads busy by themselves.
  const auto chunks = std::partition(choices_.begin(), choices_.end(), [](const Choice& choice) {
    return choice.context->q_len == 1;
  });
  ChooseTogether(device, {choices_.begin(), chunks});
  for (auto choice = chunks; choice != choices_.end(); ++choice) {
    Choose(device, lanes_.front(), *choice);
  }
  for (std::size_t i = 0; i < contexts.size(); ++i) CountRows(contexts[i], *out[i]);
  for (const Choice& choice : choices_) {
    StepSelectionStats* stats = choice.context->stats;
    if (stats == nullptr) continue;
    AddTimes(choice.times, LayerOf(*stats, choice.context->layer));
    if (recall_ == nullptr) continue;
    const TraceSpan span(device.trace(), "recall");
    recall_->Sample(device, *choice.context, *choice.selection, *stats);
  }
}

void StagedPolicy::ChooseTogether(Device& device, std::span<Choice> choices) {
  const int n_threads = device.pool().n_threads();
  if (n_threads == 1 || choices.size() < static_cast<std::size_t>(n_threads)) {
    for (Choice& choice : choices) Choose(device, lanes_.front(), choice);
    return;
  }
  while (lanes_.size() < static_cast<std::size_t>(n_threads)) {
    lanes_.emplace_back().scorer = lanes_.front().scorer->Clone();
  }
  device.pool().ParallelFor(static_cast<std::int64_t>(choices.size()),
                            [&](std::int64_t i, int thread) {
                              try {
                                Choose(device, lanes_[thread], choices[i]);
                              } catch (...) {  // a task must not throw
                                choices[i].failure = std::current_exception();
                              }
                            });
  for (const Choice& choice : choices) {
    if (choice.failure != nullptr) std::rethrow_exception(choice.failure);
  }
  // As many ran at a time: their sum is to be that of the step.
  for (Choice& choice : choices) {
    for (double& seconds : choice.times.seconds) seconds /= n_threads;
  }
}

void StagedPolicy::Choose(Device& device, Lane& lane, Choice& choice) const {
  const Candidates candidates =
      lane.scorer->Prepare(device, *choice.context, choice.selection->middle, choice.times);
  const std::span<float> scores = Sized(lane.scores, candidates.rows.size());
  lane.scorer->Score(device, *choice.context, candidates, choice.times, scores);
  choice.times.scored = candidates.rows.size();
  const ScopedTimer timer(&choice.times[SelectionStage::kTopK]);
  const TraceSpan span(device.trace(), "top_k");
  TakeBest(device, lane, candidates, choice);
}

void StagedPolicy::TakeBest(Device& device,
                            Lane& lane,
                            const Candidates& candidates,
                            Choice& choice) const {
  const std::int32_t budget = choice.context->sizes.selected;
  const RowRange middle = choice.selection->middle;
  std::vector<std::int32_t>& selected = choice.selection->selected;
  const std::span<const float> scores(lane.scores.data(), candidates.rows.size());
  if (candidates.blocks.empty()) {
    const std::span<float> pooled = Sized(lane.pooled, scores.size());
    MaxPool(device, scores, proximity_, pooled);
    TopK(device, pooled, budget, middle.begin, lane.top_k, selected);
    return;
  }
  RunScores& runs = lane.runs;
  WidenRuns(candidates, scores, middle, proximity_, runs);
  const std::span<float> pooled = Sized(lane.pooled, runs.scores.size());
  MaxPool(device, runs.scores, runs.borders, proximity_, pooled);
  TopK(device, pooled, budget, 0, lane.top_k, selected);
  PlacesToRows(runs, selected);
}

void StagedPolicy::OnAppend(Device& device, std::span<const AppendContext> sequences) {
  lanes_.front().scorer->OnAppend(device, sequences);
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
