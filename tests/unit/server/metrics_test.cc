#include "server/metrics.h"

#include <ctime>
#include <string>

#include "engine/request/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"
#include "server/state_collector.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Scrape(const prometheus::Collectable& source) {
  return prometheus::TextSerializer().Serialize(source.Collect());
}

RequestRecord FinishedRecord() {
  RequestRecord record;
  record.started = true;
  record.finished.reason = FinishReason::kStopToken;
  record.finished.prompt_tokens = 2000;
  record.finished.cached_prompt_tokens = 500;
  record.finished.output_tokens = 3;
  record.time_to_first_token = absl::Milliseconds(15);
  record.time_per_output_token = absl::Milliseconds(3);
  return record;
}

TEST(MetricsTest, CallsAreCountedByMethodCodeAndReason) {
  Metrics metrics;
  metrics.OnCallStarted("Generate");
  metrics.OnCallEnded("Generate", absl::OkStatus(), "NONE", absl::Seconds(1));
  metrics.OnCallEnded("Generate", DrainingError(), "DRAINING", absl::Seconds(1));
  metrics.OnCallEnded("Tokenize", DrainingError(), "DRAINING", absl::Seconds(1));
  const std::string text = Scrape(*metrics.registry());
  EXPECT_THAT(text, HasSubstr(R"(keyhole_grpc_server_call_started_total{method="Generate"} 1)"));
  EXPECT_THAT(text,
              HasSubstr(R"(keyhole_requests_total{code="OK",method="Generate",reason="NONE"} 1)"));
  EXPECT_THAT(text, HasSubstr(R"(keyhole_admission_rejected_total{reason="DRAINING"} 1)"));
}

TEST(MetricsTest, RequestsAreObservedByPromptClass) {
  Metrics metrics;
  metrics.OnRequestEnd(FinishedRecord());
  const std::string text = Scrape(*metrics.registry());
  EXPECT_THAT(text, HasSubstr(R"(keyhole_requests_finished_total{finish_reason="stop_token"} 1)"));
  EXPECT_THAT(text,
              HasSubstr(R"(keyhole_time_to_first_token_seconds_count{prompt_class="medium"} 1)"));
  EXPECT_THAT(text,
              HasSubstr(R"(keyhole_time_to_first_token_seconds_count{prompt_class="short"} 0)"));
  EXPECT_THAT(text, HasSubstr("keyhole_prompt_tokens_total 2000"));
  EXPECT_THAT(text, HasSubstr("keyhole_cached_prompt_tokens_total 500"));
}

TEST(MetricsTest, RefusedRequestsAreNoTokens) {
  Metrics metrics;
  RequestRecord record = FinishedRecord();
  record.started = false;
  record.status = InternalError();
  metrics.OnRequestEnd(record);
  const std::string text = Scrape(*metrics.registry());
  EXPECT_THAT(text, HasSubstr("keyhole_prompt_tokens_total 0"));
  EXPECT_THAT(text, HasSubstr(R"(keyhole_engine_errors_total{class="request"} 1)"));
}

TEST(MetricsTest, StepsByPhase) {
  Metrics metrics;
  StepRecord record;
  record.prefill_tokens = 512;
  record.timings.total_seconds = 0.25;
  record.timings.linear_seconds = 0.125;
  metrics.OnStep(record);
  record.decode_sequences = 2;
  record.timings.selection_seconds = 0.001;
  metrics.OnStep(record);
  record.prefill_tokens = 0;
  metrics.OnStep(record);
  const std::string text = Scrape(*metrics.registry());
  for (const char* phase : {"prefill", "decode", "mixed"}) {
    EXPECT_THAT(
        text,
        HasSubstr(std::string("keyhole_step_duration_seconds_count{phase=\"") + phase + "\"} 1"));
  }
  EXPECT_THAT(text, HasSubstr(R"(keyhole_step_part_seconds_total{part="linear"} 0.375)"));
}

TEST(StateCollectorTest, ProcessMetricsAreRead) {
  while (std::clock() < CLOCKS_PER_SEC / 20) {  // the kernel counts CPU time in ticks
  }
  const std::string text = Scrape(ProcessCollector());
  for (const char* name : {"process_cpu_seconds_total",
                           "process_resident_memory_bytes",
                           "process_open_fds",
                           "process_start_time_seconds"}) {
    EXPECT_THAT(text, HasSubstr(std::string("# TYPE ") + name));
    EXPECT_THAT(text, Not(HasSubstr(std::string("\n") + name + " 0\n")));
  }
}

TEST(StateCollectorTest, WithoutAnEngineOnlyReadiness) {
  const EngineSlot slot;
  const std::string text = Scrape(EngineStateCollector(&slot));
  EXPECT_THAT(text, HasSubstr("keyhole_ready 0"));
  EXPECT_THAT(text, Not(HasSubstr("keyhole_kv_pages")));
}

}  // namespace
}  // namespace keyhole
