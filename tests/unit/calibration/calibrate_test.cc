#include "engine/calibration/calibrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/calibration/bundled_text.h"
#include "tests/support/golden_file.h"

namespace keyhole {
namespace {

using ::testing::HasSubstr;

CalibrationSettings Tiny() {
  CalibrationSettings settings;
  auto source = OpenModel("synthetic:tiny", {});
  EXPECT_TRUE(source.ok()) << source.status();
  settings.source = *std::move(source);
  settings.n_tokens = 2000;
  settings.threads = 2;
  return settings;
}

TEST(CalibrateTest, MapsAndFiguresOfEveryLayer) {
  const CalibrationSettings settings = Tiny();
  const auto made = Calibrate(settings, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->model_hash, settings.source->content_hash());
  EXPECT_EQ(made->rope, DescribeRope(settings.source->config()));
  const DigestMaps& split = made->per_kv_head->maps;
  EXPECT_EQ(split.n_groups, 2);
  EXPECT_EQ(split.rank, 8);
  EXPECT_EQ(split.in_dim, 16);
  EXPECT_EQ(split.query_distance, 32);
  const DigestMaps& joined = made->concatenated->maps;
  EXPECT_EQ(joined.n_groups, 1);
  EXPECT_EQ(joined.rank, 8);
  EXPECT_EQ(joined.in_dim, 32);
  for (const auto* form : {&*made->per_kv_head, &*made->concatenated}) {
    ASSERT_EQ(form->maps.layers.size(), 2);
    ASSERT_EQ(form->quality.size(), 2);
    for (int layer = 0; layer < 2; ++layer) {
      EXPECT_EQ(form->maps.layers[layer].query.size(),
                form->maps.n_groups * form->maps.rank * form->maps.in_dim);
      EXPECT_GT(form->quality[layer].score_error, 0);
      EXPECT_LT(form->quality[layer].score_error, 1);
      EXPECT_GT(form->quality[layer].needed_mass, 0);
    }
  }
}

TEST(CalibrateTest, FullRankLosesOnlyTheRounding) {
  CalibrationSettings settings = Tiny();
  settings.rank = 16;
  settings.concatenated_rank = 32;
  const auto made = Calibrate(settings, {});
  ASSERT_TRUE(made.ok()) << made.status();
  for (const auto* form : {&*made->per_kv_head, &*made->concatenated}) {
    for (const LayerQuality& quality : form->quality) EXPECT_LT(quality.score_error, 0.03);
  }
}

TEST(CalibrateTest, TheSameForAnyNumberOfThreads) {
  CalibrationSettings settings = Tiny();
  settings.refine = true;
  settings.n_tokens = 700;
  const auto two = Calibrate(settings, {});
  settings.threads = 1;
  const auto one = Calibrate(settings, {});
  ASSERT_TRUE(one.ok() && two.ok());
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_EQ(one->per_kv_head->maps.layers[layer].key, two->per_kv_head->maps.layers[layer].key);
    EXPECT_EQ(one->concatenated->maps.layers[layer].query,
              two->concatenated->maps.layers[layer].query);
  }
}

TEST(CalibrateTest, RefinementDoesNotRaiseTheError) {
  CalibrationSettings settings = Tiny();
  const auto plain = Calibrate(settings, {});
  settings.refine = true;
  const auto refined = Calibrate(settings, {});
  ASSERT_TRUE(plain.ok() && refined.ok());
  for (int layer = 0; layer < 2; ++layer) {
    EXPECT_LT(refined->per_kv_head->quality[layer].score_error,
              1.1 * plain->per_kv_head->quality[layer].score_error);
  }
}

TEST(CalibrateTest, TellsItsStagesInOrder) {
  std::vector<std::string> stages;
  double last = 0;
  const auto made = Calibrate(Tiny(), [&](std::string_view stage, double done) {
    if (stages.empty() || stages.back() != stage) {
      stages.emplace_back(stage);
      last = 0;
    }
    EXPECT_GE(done, last);
    EXPECT_LE(done, 1);
    last = done;
  });
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_THAT(stages,
              ::testing::ElementsAre("loading", "reading", "fitting", "reading", "measuring"));
}

TEST(CalibrateTest, TheFormThatDoesNotFitIsLeftOut) {
  CalibrationSettings settings = Tiny();
  settings.moment_bytes = 1000;
  const auto made = Calibrate(settings, {});
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_TRUE(made->per_kv_head.has_value());
  EXPECT_FALSE(made->concatenated.has_value());
}

TEST(CalibrateTest, RefusesBadTexts) {
  CalibrationSettings settings = Tiny();
  settings.text = "short";
  EXPECT_THAT(std::string(Calibrate(settings, {}).status().message()), HasSubstr("at least 512"));
  settings.text = std::string(1000, '\xff');
  EXPECT_EQ(Calibrate(settings, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CalibrateTest, AModelWithoutATokenizerIsAnError) {
  CalibrationSettings settings = Tiny();
  auto source = OpenModel(GoldenPath("tiny/llama"), {});
  ASSERT_TRUE(source.ok()) << source.status();
  settings.source = *std::move(source);
  EXPECT_EQ(Calibrate(settings, {}).status().code(), absl::StatusCode::kNotFound);
}

TEST(BundledTextTest, IsTheTextOfItsFiles) {
  const std::string_view text = BundledText();
  EXPECT_GT(text.size(), 60'000);
  EXPECT_TRUE(text.starts_with("Comfort ye, comfort ye my people"));
  EXPECT_TRUE(text.ends_with("holiday.\n\n"));
}

}  // namespace
}  // namespace keyhole
