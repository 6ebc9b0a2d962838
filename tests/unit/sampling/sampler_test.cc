#include "engine/sampling/sampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace keyhole {
namespace {

using ::testing::ElementsAre;

class SamplerTest : public ::testing::Test {
 protected:
  SampleInput Input(std::span<const float> logits, std::size_t n_tokens = 1) {
    SampleInput input;
    input.logits = logits;
    input.tokens = std::span(tokens_).first(n_tokens);
    input.prompt_len = 1;
    input.params = &params_;
    return input;
  }

  TokenId Draw(std::span<const float> logits, std::size_t n_tokens = 1) {
    const absl::StatusOr<TokenInfo> info = Sample(Input(logits, n_tokens));
    EXPECT_TRUE(info.ok()) << info.status();
    return info.ok() ? info->chosen.token : -1;
  }

  std::vector<TokenId> tokens_ = std::vector<TokenId>(200'000, 0);
  SamplingParams params_;
};

std::vector<double> Softmax(const std::vector<float>& logits, double temperature) {
  std::vector<double> p;
  for (const float logit : logits) p.push_back(std::exp(logit / temperature));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& value : p) value /= sum;
  return p;
}

std::vector<float> RandomLogits(int n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

TEST_F(SamplerTest, GreedyTakesTheLargestAndTheSmallerIdOfEquals) {
  EXPECT_EQ(Draw(std::vector<float>{1, 5, -2, 5, 4.999999F}), 1);
  EXPECT_EQ(Draw(std::vector<float>{-1}), 0);
}

TEST_F(SamplerTest, GreedyAppliesPenaltiesBiasAndForbiddenTokens) {
  params_.logit_bias = {{2, 10}};
  EXPECT_EQ(Draw(std::vector<float>{1, 5, -2, 4}), 2);
  const std::vector<float> logits = {1, 5, -2, 4};
  const std::vector<TokenId> forbidden = {2};
  SampleInput input = Input(logits);
  input.forbidden = forbidden;
  EXPECT_EQ(Sample(input)->chosen.token, 1);
}

// Pearson's chi-square of 100,000 draws against the probabilities computed directly; 99.9% bound
// for 11 degrees of freedom. Seed and positions are fixed, so that the test gives the same result
// every time.
TEST_F(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<float> logits = RandomLogits(12, 3);
  params_.temperature = 1.7F;
  params_.seed = 12345;
  const std::vector<double> expected = Softmax(logits, 1.7);
  constexpr int kDraws = 100'000;
  std::vector<int> counts(logits.size());
  for (int i = 1; i <= kDraws; ++i) ++counts[Draw(logits, i)];
  double chi_square = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double mean = expected[i] * kDraws;
    chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
  }
  EXPECT_LT(chi_square, 31.26);
}

// top_k leaves ids 0 to 2, top_p of those 0 and 1: the rest never comes, and the ratio of the two
// is kept.
TEST_F(SamplerTest, DrawsAfterFiltersKeepTheRatioOfWhatIsLeft) {
  const std::vector<float> logits = {2, 1.5F, 1, 0.9F, -1};
  params_.temperature = 1;
  params_.top_k = 3;
  params_.top_p = 0.75F;
  params_.seed = 99;
  constexpr int kDraws = 50'000;
  std::vector<int> counts(logits.size());
  for (int i = 1; i <= kDraws; ++i) ++counts[Draw(logits, i)];
  EXPECT_THAT(std::span(counts).subspan(2), ElementsAre(0, 0, 0));
  const double expected = kDraws / (1 + std::exp(-0.5));
  EXPECT_NEAR(counts[0], expected, 4 * std::sqrt(kDraws * 0.25));
}

TEST_F(SamplerTest, SeedAndPositionFixTheDraw) {
  const std::vector<float> logits = RandomLogits(1000, 5);
  params_.temperature = 1.5F;
  int differ_by_seed = 0;
  int differ_by_position = 0;
  for (int i = 1; i <= 50; ++i) {
    params_.seed = 1;
    const TokenId first = Draw(logits, i);
    EXPECT_EQ(Draw(logits, i), first);
    differ_by_position += Draw(logits, i + 1) != first;
    params_.seed = 2;
    differ_by_seed += Draw(logits, i) != first;
  }
  EXPECT_GT(differ_by_seed, 40);
  EXPECT_GT(differ_by_position, 40);
}

TEST_F(SamplerTest, TinyTemperatureIsGreedy) {
  const std::vector<float> logits = RandomLogits(1000, 6);
  const TokenId best = Draw(logits);
  for (const float temperature : {1e-3F, 1e-30F, std::numeric_limits<float>::denorm_min()}) {
    params_.temperature = temperature;
    for (int i = 1; i <= 20; ++i) EXPECT_EQ(Draw(logits, i), best);
  }
}

TEST_F(SamplerTest, LogprobsAreThoseOfTheModelBeforeEverything) {
  const std::vector<float> logits = RandomLogits(100, 8);
  const std::vector<double> p = Softmax(logits, 1);
  params_.temperature = 0.3F;
  params_.repetition_penalty = 1.9F;
  params_.top_k = 1;
  params_.logit_bias = {{17, 100}};
  SampleInput input = Input(logits);
  input.top_logprob_count = 3;
  const absl::StatusOr<TokenInfo> info = Sample(input);
  ASSERT_TRUE(info.ok());
  EXPECT_EQ(info->chosen.token, 17);
  EXPECT_NEAR(info->chosen.logprob, std::log(p[17]), 1e-5);
  ASSERT_EQ(info->top.size(), 3);
  std::vector<double> sorted = p;
  std::sort(sorted.rbegin(), sorted.rend());
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(p[info->top[i].token], sorted[i]);
    EXPECT_NEAR(info->top[i].logprob, std::log(sorted[i]), 1e-5);
  }
}

TEST_F(SamplerTest, ScoreTokenGivesTheLogprobOfAnyTokenAndTheBest) {
  const std::vector<float> logits = {1, 3, 2, 3, 0};
  const std::vector<double> p = Softmax(logits, 1);
  const TokenInfo info = ScoreToken(logits, 4, 3);
  EXPECT_EQ(info.chosen.token, 4);
  EXPECT_NEAR(info.chosen.logprob, std::log(p[4]), 1e-6);
  std::vector<TokenId> top;
  for (const TokenLogprob& entry : info.top) top.push_back(entry.token);
  EXPECT_THAT(top, ElementsAre(1, 3, 2));
  EXPECT_TRUE(ScoreToken(logits, 0, 0).top.empty());
  EXPECT_EQ(ScoreToken(logits, 0, 20).top.size(), 5);
}

TEST_F(SamplerTest, NonFiniteLogitsFail) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::nanf("")}) {
    const std::vector<float> logits = {1, bad, 2};
    EXPECT_EQ(Sample(Input(logits)).status().code(), absl::StatusCode::kInternal);
    EXPECT_TRUE(std::isnan(ScoreToken(logits, 0, 0).chosen.logprob));
  }
}

}  // namespace
}  // namespace keyhole
