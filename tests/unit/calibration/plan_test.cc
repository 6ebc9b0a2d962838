#include "engine/calibration/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace keyhole {
namespace {

using ::testing::HasSubstr;

CalibrationSettings Of(const std::string& model) {
  CalibrationSettings settings;
  auto source = OpenModel(model, {});
  EXPECT_TRUE(source.ok()) << source.status();
  settings.source = *std::move(source);
  return settings;
}

void ExpectRefused(const CalibrationSettings& settings, std::int64_t n, const std::string& reason) {
  const auto plan = PlanCalibration(settings, n);
  ASSERT_FALSE(plan.ok()) << reason;
  EXPECT_EQ(plan.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(plan.status().message()), HasSubstr(reason));
}

TEST(PlanTest, OfTheDefaultModel) {
  const auto plan = PlanCalibration(Of("synthetic:smollm2-135m"), 16384);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->n_fitted, 12288);
  EXPECT_EQ(plan->segment, 4096);
  EXPECT_EQ(plan->query_distance, 1024);
  EXPECT_EQ(plan->rank, 32);
  EXPECT_EQ(plan->concatenated_rank, 64);
  EXPECT_EQ(plan->sizes.initial, 128);
  EXPECT_EQ(plan->sizes.local, 1024);
  EXPECT_EQ(plan->sizes.selected, 368);
}

TEST(PlanTest, HeldOutTextIsTheLastQuarterAndOneSegment) {
  for (const std::int64_t n : {512, 1000, 5000, 16384, 50000}) {
    const auto plan = PlanCalibration(Of("synthetic:smollm2-135m"), n);
    ASSERT_TRUE(plan.ok()) << plan.status();
    const std::int64_t held_out = n - plan->n_fitted;
    EXPECT_EQ(held_out, std::min<std::int64_t>(n / 4, 4096));
    EXPECT_GE(plan->probes.begin - plan->n_fitted,
              plan->sizes.initial + plan->sizes.local + plan->sizes.selected);
    EXPECT_LT(plan->probes.begin, n);
    EXPECT_GE(plan->probes.step, 1);
    EXPECT_GT(plan->sizes.selected, 0);
  }
}

TEST(PlanTest, SegmentsStayInTheTrainedWindow) {
  const auto plan = PlanCalibration(Of("synthetic:tiny"), 16384);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->segment, 256);
  EXPECT_EQ(plan->query_distance, 32);
  EXPECT_EQ(plan->n_fitted, 16384 - 256);
}

TEST(PlanTest, LargeModelsAreBounded) {
  const auto llama3 = PlanCalibration(Of("synthetic:llama-3-8b"), 16384);
  ASSERT_TRUE(llama3.ok()) << llama3.status();
  EXPECT_EQ(llama3->rank, 64);
  EXPECT_EQ(llama3->concatenated_rank, 64);
  // 32 KV heads of 128: 8 GiB of moments of the concatenated form.
  const auto llama2 = PlanCalibration(Of("synthetic:llama-2-7b"), 16384);
  ASSERT_TRUE(llama2.ok()) << llama2.status();
  EXPECT_EQ(llama2->concatenated_rank, 0);
  EXPECT_EQ(16384 - llama2->n_fitted, 1024);  // 512 MiB of keys
  EXPECT_EQ(llama2->ranges.step, 15);
}

TEST(PlanTest, RefusesWhatDoesNotFit) {
  ExpectRefused(Of("synthetic:tiny"), 511, "at least 512 tokens, not 511");
  CalibrationSettings settings = Of("synthetic:tiny");
  for (const std::int32_t rank : {-4, 2, 6, 20}) {
    settings.rank = rank;
    ExpectRefused(settings, 1000, "rank of");
  }
  settings.rank = 16;
  settings.concatenated_rank = 36;
  ExpectRefused(settings, 1000, "concatenated rank of 36");
  settings.concatenated_rank = 32;
  settings.query_distance = 256;
  ExpectRefused(settings, 1000, "query distance of 256");
  settings.query_distance = 255;
  EXPECT_TRUE(PlanCalibration(settings, 1000).ok());
}

}  // namespace
}  // namespace keyhole
