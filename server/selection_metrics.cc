#include "server/selection_metrics.h"

#include <algorithm>
#include <string>

#include "server/metric_maker.h"

namespace keyhole {
namespace {

const Buckets kLayerSeconds = {
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05};
const Buckets kStepSeconds = {
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5};
const Buckets kShare = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1};
const Buckets kQuality = {0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1};

const std::array<std::string, kSelectionStages> kStages = {"compress", "score", "topk"};
const std::array<std::string, 3> kLayerGroups = {"early", "middle", "late"};

std::size_t LayerGroup(std::size_t layer, std::size_t layers) {
  return std::min(layer * kLayerGroups.size() / layers, kLayerGroups.size() - 1);
}

template <typename Metric, typename... Args>
std::array<Metric*, kLayerGroups.size()> Spread(prometheus::Family<Metric>* family,
                                                prometheus::Labels labels,
                                                const Args&... args) {
  std::array<Metric*, kLayerGroups.size()> metrics{};
  for (std::size_t group = 0; group < kLayerGroups.size(); ++group) {
    labels["layer_group"] = kLayerGroups[group];
    metrics[group] = &family->Add(labels, args...);
  }
  return metrics;
}

}  // namespace

SelectionMetrics::SelectionMetrics(prometheus::Registry* registry) {
  MetricMaker make(registry);
  auto* durations = make.Histograms("selection_duration_seconds",
                                    "Time of one stage of selection in one layer of one step.");
  for (std::size_t stage = 0; stage < kSelectionStages; ++stage) {
    duration_[stage] = Spread(durations, {{"stage", kStages[stage]}}, kLayerSeconds);
  }
  auto* steps = make.Histograms("selection_step_duration_seconds",
                                "Time of selection in one step, all layers together; steps with a "
                                "prefill chunk are prefill.");
  decode_step_duration_ = &steps->Add({{"phase", "decode"}}, kStepSeconds);
  prefill_step_duration_ = &steps->Add({{"phase", "prefill"}}, kStepSeconds);
  step_share_ =
      make.Histogram("selection_step_share_ratio", "Selection's share of a step's time.", kShare);
  rows_ = Spread(make.Counters("selection_rows_total",
                               "Rows chosen among the candidates, summed over "
                               "layers."),
                 {});
  candidates_ = make.Counter("selection_candidates_total",
                             "Rows that selection could choose from, summed over layers.");
  recall_ = Spread(make.Histograms("selection_recall_ratio",
                                   "Sampled: share of the exact top rows that were chosen."),
                   {},
                   kQuality);
  mass_ = Spread(make.Histograms("selection_mass_ratio",
                                 "Sampled: share of the candidates' exact attention mass that the "
                                 "chosen rows carry."),
                 {},
                 kQuality);
  recall_samples_ = make.Counter("selection_recall_samples_total",
                                 "Comparisons with exact scores behind recall and mass.");
}

void SelectionMetrics::OnStep(const StepRecord& record) {
  const StepSelectionStats& stats = record.selection;
  if (stats.layers.empty()) return;
  ObserveLayers(stats);
  const bool scored = std::any_of(
      stats.layers.begin(), stats.layers.end(), [](const auto& layer) { return layer.scored > 0; });
  if (scored) ObserveStep(record);
  ObserveRecall(stats);
}

void SelectionMetrics::ObserveLayers(const StepSelectionStats& stats) {
  for (std::size_t i = 0; i < stats.layers.size(); ++i) {
    const LayerSelection& layer = stats.layers[i];
    const std::size_t group = LayerGroup(i, stats.layers.size());
    rows_[group]->Increment(static_cast<double>(layer.selected));
    candidates_->Increment(static_cast<double>(layer.candidates));
    if (layer.scored == 0) continue;
    for (std::size_t stage = 0; stage < kSelectionStages; ++stage) {
      duration_[stage][group]->Observe(layer.seconds[stage]);
    }
  }
}

void SelectionMetrics::ObserveStep(const StepRecord& record) {
  const StepTimings& timings = record.timings;
  Histogram* duration = record.prefill_tokens > 0 ? prefill_step_duration_ : decode_step_duration_;
  duration->Observe(timings.selection_seconds);
  if (timings.total_seconds > 0) {
    step_share_->Observe(timings.selection_seconds / timings.total_seconds);
  }
}

void SelectionMetrics::ObserveRecall(const StepSelectionStats& stats) {
  for (const RecallSample& sample : stats.samples) {
    const std::size_t group = LayerGroup(sample.layer, stats.layers.size());
    recall_[group]->Observe(sample.overlap);
    mass_[group]->Observe(sample.mass);
    recall_samples_->Increment();
  }
}

}  // namespace keyhole
