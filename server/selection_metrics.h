// What the selection of rows cost and how well it chose, in Prometheus form: the headline metrics.
#pragma once

#include <array>
#include <cstddef>

#include "engine/telemetry/engine_observer.h"
#include "engine/telemetry/selection_stats.h"
#include "prometheus/counter.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace keyhole {

// Layer groups are thirds of the model's layers. A step in which nothing was scored (short
// sequences, or a policy without scores) counts no time, lest it hide the latency of the others.
// Every series is there from construction, at zero. Thread: any; no call waits.
class SelectionMetrics {
 public:
  // REQUIRES: `registry` outlives this.
  explicit SelectionMetrics(prometheus::Registry* registry);

  void OnStep(const StepRecord& record);

 private:
  static constexpr std::size_t kGroups = 3;
  template <typename Metric>
  using ByGroup = std::array<Metric*, kGroups>;
  using Counter = prometheus::Counter;
  using Histogram = prometheus::Histogram;

  void ObserveLayers(const StepSelectionStats& stats);
  void ObserveStep(const StepRecord& record);
  void ObserveRecall(const StepSelectionStats& stats);

  std::array<ByGroup<Histogram>, kSelectionStages> duration_;  // seconds of a layer
  Histogram* decode_step_duration_;
  Histogram* prefill_step_duration_;
  Histogram* step_share_;
  ByGroup<Counter> rows_;
  Counter* candidates_;
  ByGroup<Histogram> recall_;
  ByGroup<Histogram> mass_;
  Counter* recall_samples_;
};

}  // namespace keyhole
