// What the service counts, in Prometheus form. Names and labels are part of the API: deploy/ reads
// them.
#pragma once

#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "engine/telemetry/engine_observer.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/selection_metrics.h"

namespace keyhole {

// "end_of_sequence", ...: label of metrics and log lines.
std::string_view FinishReasonName(FinishReason reason);

// Labels take values of fixed sets only: methods, codes, reasons, finish reasons, phases, length
// classes. Thread: any; no call waits.
class Metrics : public EngineObserver {
 public:
  Metrics();

  // --- of calls
  void OnCallStarted(std::string_view method);
  void OnCallEnded(std::string_view method,
                   const absl::Status& status,
                   std::string_view reason,
                   absl::Duration duration);
  // "cancel", "deadline" or "slow_reader".
  void OnStreamAborted(std::string_view cause);
  void SetStalledStreams(int count) { stalled_streams_->Set(count); }

  // --- of the engine
  void OnStep(const StepRecord& record) override;
  void OnInterToken(absl::Duration gap) override;
  void OnRequestEnd(const RequestRecord& record) override;
  void OnModelLoaded(const ModelInfo& model, const EngineConfig& config, absl::Duration load_time);

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  template <typename Metric>
  using Family = prometheus::Family<Metric>;
  using Counter = prometheus::Counter;
  using Gauge = prometheus::Gauge;
  using Histogram = prometheus::Histogram;

  // A histogram for each value of one label, made once.
  struct ByLabel {
    std::vector<std::pair<std::string_view, Histogram*>> histograms;
    Histogram& Get(std::string_view value) const;
  };

  void ObservePhases(const RequestRecord& record);

  std::shared_ptr<prometheus::Registry> registry_;  // shared with the endpoint, as the library asks
  SelectionMetrics selection_;

  Family<Counter>* calls_started_;
  Family<Histogram>* call_duration_;
  Family<Counter>* requests_;
  Family<Histogram>* request_duration_;
  Family<Counter>* requests_finished_;
  Family<Counter>* admission_rejected_;
  Family<Counter>* streams_aborted_;
  Gauge* stalled_streams_;

  ByLabel time_to_first_token_;
  ByLabel time_per_output_token_;
  Histogram* inter_token_;
  Histogram* queue_;
  Histogram* prefill_;
  Histogram* decode_;
  Histogram* prompt_tokens_;
  Histogram* output_tokens_;
  Counter* prompt_tokens_total_;
  Counter* output_tokens_total_;
  Counter* cached_prompt_tokens_total_;

  ByLabel step_duration_;
  Counter* linear_seconds_;
  Counter* attention_seconds_;
  Counter* selection_seconds_;
  Counter* sampling_seconds_;
  Counter* request_errors_;

  Gauge* model_load_seconds_;
  Family<Gauge>* config_info_;
};

}  // namespace keyhole
