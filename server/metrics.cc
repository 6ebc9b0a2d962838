#include "server/metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "engine/request/error.h"
#include "server/metric_maker.h"
#include "server/status_map.h"

namespace keyhole {
namespace {

const Buckets kCallSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600};
const Buckets kRequestSeconds = {
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600, 1200, 2400, 4800, 7680};
const Buckets kFirstTokenSeconds = {
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.25, 2.5, 5, 10, 20, 40, 80, 160, 640, 1280, 2560};
const Buckets kTokenSeconds = {
    0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 4, 8};
const Buckets kPhaseSeconds = {
    0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 7680};
const Buckets kStepSeconds = {
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60};
const Buckets kTokens = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304};

const std::vector<std::string_view> kPromptClasses = {"short", "medium", "long", "huge"};
const std::vector<std::string_view> kStepPhases = {"prefill", "decode", "mixed"};

std::string_view PromptClass(std::int32_t tokens) {
  if (tokens <= 1024) return kPromptClasses[0];
  if (tokens <= 16384) return kPromptClasses[1];
  if (tokens <= 131072) return kPromptClasses[2];
  return kPromptClasses[3];
}

std::string_view StepPhase(const StepRecord& record) {
  if (record.prefill_tokens == 0) return "decode";
  return record.decode_sequences == 0 ? "prefill" : "mixed";
}

bool IsGeneration(std::string_view method) {
  return method == "Generate" || method == "StreamGenerate" || method == "Chat" ||
         method == "StreamChat";
}

bool IsAdmissionReason(std::string_view reason) {
  return reason == reason::kQueueFull || reason == reason::kKvCapacity ||
         reason == reason::kDeadlineUnattainable || reason == reason::kDraining ||
         reason == reason::kModelLoading;
}

std::vector<std::pair<std::string_view, prometheus::Histogram*>> Spread(
    prometheus::Family<prometheus::Histogram>* family,
    const std::string& label,
    const std::vector<std::string_view>& values,
    const Buckets& buckets) {
  std::vector<std::pair<std::string_view, prometheus::Histogram*>> histograms;
  histograms.reserve(values.size());
  for (const std::string_view value : values) {
    histograms.emplace_back(value, &family->Add({{label, std::string(value)}}, buckets));
  }
  return histograms;
}

}  // namespace

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEndOfSequence:
      return "end_of_sequence";
    case FinishReason::kStopSequence:
      return "stop_sequence";
    case FinishReason::kStopToken:
      return "stop_token";
    case FinishReason::kMaxOutputTokens:
      return "max_output_tokens";
    case FinishReason::kContextLength:
      return "context_length";
    case FinishReason::kTimeLimit:
      return "time_limit";
    case FinishReason::kDrained:
      return "drained";
  }
  return "unknown";
}

prometheus::Histogram& Metrics::ByLabel::Get(std::string_view value) const {
  for (const auto& [name, histogram] : histograms) {
    if (name == value) return *histogram;
  }
  return *histograms.back().second;
}

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()), selection_(registry_.get()) {
  MetricMaker make(registry_.get());
  calls_started_ = make.Counters("grpc_server_call_started_total", "Calls that arrived.");
  call_duration_ =
      make.Histograms("grpc_server_call_duration_seconds", "Time of calls, by method and code.");
  requests_ = make.Counters("requests_total", "Calls that ended, by method, code and reason.");
  request_duration_ =
      make.Histograms("request_duration_seconds", "Time of generation calls, end to end.");
  requests_finished_ =
      make.Counters("requests_finished_total", "Answers that were completed, by finish reason.");
  admission_rejected_ =
      make.Counters("admission_rejected_total", "Requests that were not taken, by reason.");
  streams_aborted_ =
      make.Counters("stream_aborted_total",
                    "Streams that ended early and answers that were not taken, by cause.");
  stalled_streams_ = make.Gauge("stream_writes_stalled",
                                "Calls whose client has not read for more than a second.");

  time_to_first_token_.histograms = Spread(
      make.Histograms(
          "time_to_first_token_seconds",
          "From arrival to the first output token. Prompts: short to 1,024 tokens, medium to "
          "16,384, long to 131,072, huge beyond."),
      "prompt_class",
      kPromptClasses,
      kFirstTokenSeconds);
  time_per_output_token_.histograms =
      Spread(make.Histograms("time_per_output_token_seconds",
                             "Mean time of an answer's tokens after the first."),
             "prompt_class",
             kPromptClasses,
             kTokenSeconds);
  inter_token_ = make.Histogram(
      "inter_token_seconds", "Gap between two output tokens of one request.", kTokenSeconds);
  queue_ = make.Histogram("queue_seconds", "From arrival to the first work.", kPhaseSeconds);
  prefill_ = make.Histogram(
      "prefill_seconds", "From the first work to the first output token.", kPhaseSeconds);
  decode_ =
      make.Histogram("decode_seconds", "From the first to the last output token.", kPhaseSeconds);
  prompt_tokens_ = make.Histogram("prompt_tokens", "Prompt length of requests.", kTokens);
  output_tokens_ = make.Histogram("output_tokens", "Answer length of requests.", kTokens);
  prompt_tokens_total_ = make.Counter("prompt_tokens_total", "Prompt tokens of ended requests.");
  output_tokens_total_ = make.Counter("output_tokens_total", "Output tokens of ended requests.");
  cached_prompt_tokens_total_ =
      make.Counter("cached_prompt_tokens_total", "Prompt tokens taken from the prefix cache.");

  step_duration_.histograms =
      Spread(make.Histograms("step_duration_seconds", "Time of a step of the model."),
             "phase",
             kStepPhases,
             kStepSeconds);
  auto* parts = make.Counters("step_part_seconds_total", "Time of steps by what was done.");
  linear_seconds_ = &parts->Add({{"part", "linear"}});
  attention_seconds_ = &parts->Add({{"part", "attention"}});
  selection_seconds_ = &parts->Add({{"part", "selection"}});
  sampling_seconds_ = &parts->Add({{"part", "sampling"}});
  request_errors_ = &make.Counters("engine_errors_total", "Faults of the engine, by class.")
                         ->Add({{"class", "request"}});

  model_load_seconds_ = make.Gauge("model_load_seconds", "Time that loading the model took.");
  config_info_ = make.Gauges("config_info", "What is served; always 1.");
  make.Gauges("build_info", "What runs; always 1.")
      ->Add({{"version", KEYHOLE_VERSION}, {"compiler", __VERSION__}})
      .Set(1);
}

void Metrics::OnCallStarted(std::string_view method) {
  calls_started_->Add({{"method", std::string(method)}}).Increment();
}

void Metrics::OnCallEnded(std::string_view method,
                          const absl::Status& status,
                          std::string_view reason,
                          absl::Duration duration) {
  const std::string name(method);
  const double seconds = absl::ToDoubleSeconds(duration);
  call_duration_->Add({{"method", name}, {"code", CodeName(status)}}, kCallSeconds)
      .Observe(seconds);
  requests_->Add({{"method", name}, {"code", CodeName(status)}, {"reason", std::string(reason)}})
      .Increment();
  if (IsGeneration(method)) {
    request_duration_->Add({{"method", name}}, kRequestSeconds).Observe(seconds);
    if (IsAdmissionReason(reason)) {
      admission_rejected_->Add({{"reason", std::string(reason)}}).Increment();
    }
  }
}

void Metrics::OnStreamAborted(std::string_view cause) {
  streams_aborted_->Add({{"cause", std::string(cause)}}).Increment();
}

void Metrics::OnStep(const StepRecord& record) {
  const StepTimings& timings = record.timings;
  step_duration_.Get(StepPhase(record)).Observe(timings.total_seconds);
  linear_seconds_->Increment(timings.linear_seconds);
  attention_seconds_->Increment(timings.attention_seconds);
  selection_seconds_->Increment(timings.selection_seconds);
  sampling_seconds_->Increment(timings.sampling_seconds);
  selection_.OnStep(record);
}

void Metrics::OnInterToken(absl::Duration gap) {
  inter_token_->Observe(absl::ToDoubleSeconds(gap));
}

void Metrics::OnRequestEnd(const RequestRecord& record) {
  if (record.status.code() == absl::StatusCode::kInternal) request_errors_->Increment();
  if (!record.started) return;
  if (record.status.ok()) {
    requests_finished_
        ->Add({{"finish_reason", std::string(FinishReasonName(record.finished.reason))}})
        .Increment();
  }
  prompt_tokens_->Observe(record.finished.prompt_tokens);
  output_tokens_->Observe(record.finished.output_tokens);
  prompt_tokens_total_->Increment(record.finished.prompt_tokens);
  output_tokens_total_->Increment(record.finished.output_tokens);
  cached_prompt_tokens_total_->Increment(record.finished.cached_prompt_tokens);
  ObservePhases(record);
}

void Metrics::ObservePhases(const RequestRecord& record) {
  const FinishedEvent& finished = record.finished;
  queue_->Observe(absl::ToDoubleSeconds(finished.queue_time));
  if (finished.output_tokens == 0) return;
  const std::string_view length = PromptClass(finished.prompt_tokens);
  prefill_->Observe(absl::ToDoubleSeconds(finished.prefill_time));
  decode_->Observe(absl::ToDoubleSeconds(finished.decode_time));
  time_to_first_token_.Get(length).Observe(absl::ToDoubleSeconds(record.time_to_first_token));
  if (finished.output_tokens > 1) {
    time_per_output_token_.Get(length).Observe(absl::ToDoubleSeconds(record.time_per_output_token));
  }
}

void Metrics::OnModelLoaded(const ModelInfo& model,
                            const EngineConfig& config,
                            absl::Duration load_time) {
  model_load_seconds_->Set(absl::ToDoubleSeconds(load_time));
  config_info_
      ->Add({{"model", model.name},
             {"revision", model.revision},
             {"policy", model.policy},
             {"positions", model.positions == PositionMode::kNative ? "native" : "rectified"},
             {"initial", absl::StrCat(model.selection.initial)},
             {"local", absl::StrCat(model.selection.local)},
             {"selected", absl::StrCat(model.selection.selected)},
             {"kv_type", KvTypeName(config.kv.type)},
             {"page_size", absl::StrCat(config.kv.page_size)},
             {"chunk_size", absl::StrCat(config.scheduler.chunk_size)},
             {"max_context", absl::StrCat(model.max_context)}})
      .Set(1);
}

}  // namespace keyhole
