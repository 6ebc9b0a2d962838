#include "server/selection_metrics.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

class SelectionMetricsTest : public ::testing::Test {
 protected:
  // "name{labels} value" is a line of what Prometheus would read.
  void Expect(const std::string& sample, const std::string& value) {
    const std::string text = prometheus::TextSerializer().Serialize(registry_.Collect());
    EXPECT_THAT(text, HasSubstr(absl::StrCat("\nkeyhole_selection_", sample, " ", value, "\n")));
  }

  prometheus::Registry registry_;
  SelectionMetrics metrics_{&registry_};
};

// Layer i: compress 2^-10 s, score 2^-8 s, top-k 2^-7 s; 100 candidates, i + 1 rows.
StepRecord ScoredStep(int layers) {
  StepRecord record;
  record.decode_sequences = 1;
  record.timings.total_seconds = 0.5;
  record.timings.selection_seconds = 0.125;
  for (int i = 0; i < layers; ++i) {
    LayerSelection layer;
    layer[SelectionStage::kCompress] = 0.0009765625;
    layer[SelectionStage::kScore] = 0.00390625;
    layer[SelectionStage::kTopK] = 0.0078125;
    layer.candidates = 100;
    layer.selected = i + 1;
    layer.scored = 100;
    record.selection.layers.push_back(layer);
  }
  return record;
}

TEST_F(SelectionMetricsTest, EverySeriesIsThereFromTheStart) {
  for (const char* group : {"early", "middle", "late"}) {
    const std::string label = absl::StrCat("layer_group=\"", group, "\"");
    for (const char* stage : {"compress", "score", "topk"}) {
      Expect(absl::StrCat("duration_seconds_count{", label, ",stage=\"", stage, "\"}"), "0");
    }
    Expect(absl::StrCat("rows_total{", label, "}"), "0");
    Expect(absl::StrCat("recall_ratio_count{", label, "}"), "0");
    Expect(absl::StrCat("mass_ratio_count{", label, "}"), "0");
  }
  Expect(R"(step_duration_seconds_count{phase="decode"})", "0");
  Expect(R"(step_duration_seconds_count{phase="prefill"})", "0");
  Expect("step_share_ratio_count", "0");
  Expect("candidates_total", "0");
  Expect("recall_samples_total", "0");
}

TEST_F(SelectionMetricsTest, EachScoredLayerIsOneObservationOfEachStage) {
  metrics_.OnStep(ScoredStep(6));
  for (const char* group : {"early", "middle", "late"}) {
    const std::string label = absl::StrCat("{layer_group=\"", group, "\",stage=");
    Expect(absl::StrCat("duration_seconds_count", label, "\"compress\"}"), "2");
    Expect(absl::StrCat("duration_seconds_sum", label, "\"compress\"}"), "0.001953125");
    Expect(absl::StrCat("duration_seconds_sum", label, "\"score\"}"), "0.0078125");
    Expect(absl::StrCat("duration_seconds_sum", label, "\"topk\"}"), "0.015625");
  }
  Expect(R"(rows_total{layer_group="early"})", "3");
  Expect(R"(rows_total{layer_group="middle"})", "7");
  Expect(R"(rows_total{layer_group="late"})", "11");
  Expect("candidates_total", "600");
}

TEST_F(SelectionMetricsTest, LayersSplitIntoThirdsForAnyCount) {
  metrics_.OnStep(ScoredStep(7));  // 0 1 2 | 3 4 | 5 6
  Expect(R"(duration_seconds_count{layer_group="early",stage="score"})", "3");
  Expect(R"(duration_seconds_count{layer_group="middle",stage="score"})", "2");
  Expect(R"(duration_seconds_count{layer_group="late",stage="score"})", "2");
  metrics_.OnStep(ScoredStep(1));
  Expect(R"(duration_seconds_count{layer_group="early",stage="score"})", "4");
}

TEST_F(SelectionMetricsTest, StepsWithAPrefillChunkArePrefill) {
  StepRecord record = ScoredStep(3);
  metrics_.OnStep(record);
  record.prefill_tokens = 512;  // beside one sequence in decode
  record.timings.selection_seconds = 0.25;
  metrics_.OnStep(record);
  Expect(R"(step_duration_seconds_sum{phase="decode"})", "0.125");
  Expect(R"(step_duration_seconds_sum{phase="prefill"})", "0.25");
  Expect("step_share_ratio_sum", "0.75");
  Expect("step_share_ratio_count", "2");
}

TEST_F(SelectionMetricsTest, StepsThatScoreNothingCountRowsButNoTime) {
  StepRecord record = ScoredStep(3);
  for (LayerSelection& layer : record.selection.layers) layer.scored = 0;
  metrics_.OnStep(record);
  Expect(R"(rows_total{layer_group="late"})", "3");
  Expect(R"(duration_seconds_count{layer_group="late",stage="score"})", "0");
  Expect(R"(step_duration_seconds_count{phase="decode"})", "0");
  Expect("step_share_ratio_count", "0");
}

TEST_F(SelectionMetricsTest, PoliciesWithoutStatisticsCountNothing) {
  metrics_.OnStep(ScoredStep(0));
  Expect("candidates_total", "0");
  Expect(R"(step_duration_seconds_count{phase="decode"})", "0");
}

TEST_F(SelectionMetricsTest, RecallSamplesByLayerGroup) {
  StepRecord record = ScoredStep(3);
  record.selection.samples = {{.layer = 0, .overlap = 0.75, .mass = 0.875},
                              {.layer = 2, .overlap = 1, .mass = 1},
                              {.layer = 2, .overlap = 0.5, .mass = 0.625}};
  metrics_.OnStep(record);
  Expect(R"(recall_ratio_sum{layer_group="early"})", "0.75");
  Expect(R"(mass_ratio_sum{layer_group="early"})", "0.875");
  Expect(R"(recall_ratio_count{layer_group="middle"})", "0");
  Expect(R"(recall_ratio_bucket{layer_group="late",le="0.5"})", "1");
  Expect(R"(recall_ratio_bucket{layer_group="late",le="1"})", "2");
  Expect("recall_samples_total", "3");
}

}  // namespace
}  // namespace keyhole
