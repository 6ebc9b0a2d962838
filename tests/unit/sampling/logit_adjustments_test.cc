#include "engine/sampling/logit_adjustments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace keyhole {
namespace {

using ::testing::ElementsAre;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

class LogitAdjustmentsTest : public ::testing::Test {
 protected:
  // Prompt 0 1 1, output 1 3 3.
  LogitAdjustmentsTest() {
    input_.logits = logits_;
    input_.tokens = tokens_;
    input_.prompt_len = 3;
    input_.params = &params_;
  }

  const std::vector<float> logits_ = {2, -1, 0.5, 4, -3};
  const std::vector<TokenId> tokens_ = {0, 1, 1, 1, 3, 3};
  SamplingParams params_;
  SampleInput input_;
};

TEST_F(LogitAdjustmentsTest, DefaultsNeedNone) {
  EXPECT_FALSE(NeedsAdjustment(input_));
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(2, -1, 0.5, 4, -3));
}

TEST_F(LogitAdjustmentsTest, RepetitionCountsPromptAndOutputOnce) {
  params_.repetition_penalty = 2;
  EXPECT_TRUE(NeedsAdjustment(input_));
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(1, -2, 0.5, 2, -3));
}

TEST_F(LogitAdjustmentsTest, FrequencyAndPresenceCountTheOutputAlone) {
  params_.frequency_penalty = 0.5;
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(2, -1.5, 0.5, 3, -3));
  params_.frequency_penalty = 0;
  params_.presence_penalty = 0.25;
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(2, -1.25, 0.5, 3.75, -3));
  params_.frequency_penalty = -1;
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(2, -0.25, 0.5, 5.75, -3));
}

TEST_F(LogitAdjustmentsTest, RepetitionComesBeforeTheOthersAndBiasLast) {
  params_.repetition_penalty = 2;
  params_.presence_penalty = 1;
  params_.logit_bias = {{3, 10}, {4, -1}, {3, 0.5}};
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(1, -3, 0.5, 11.5, -4));
}

TEST_F(LogitAdjustmentsTest, ForbiddenWinsOverBias) {
  const std::vector<TokenId> forbidden = {3, 0};
  params_.logit_bias = {{3, 100}};
  input_.forbidden = forbidden;
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(kMinusInfinity, -1, 0.5, kMinusInfinity, -3));
}

TEST_F(LogitAdjustmentsTest, IgnoresIdsOutsideTheVocabulary) {
  const std::vector<TokenId> tokens = {-1, 5, 1'000'000, 0, -7, 99};
  const std::vector<TokenId> forbidden = {-1, 5};
  input_.tokens = tokens;
  input_.forbidden = forbidden;
  params_.repetition_penalty = 2;
  params_.presence_penalty = 1;
  params_.logit_bias = {{-1, 5}, {77, 5}};
  EXPECT_THAT(AdjustedLogits(input_), ElementsAre(0, -1, 0.5, 4, -3));
}

TEST_F(LogitAdjustmentsTest, StayFiniteUnderATinyRepetitionPenalty) {
  params_.repetition_penalty = std::numeric_limits<float>::denorm_min();
  for (const float logit : AdjustedLogits(input_)) EXPECT_TRUE(std::isfinite(logit));
}

}  // namespace
}  // namespace keyhole
