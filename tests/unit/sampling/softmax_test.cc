#include "engine/sampling/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace keyhole {
namespace {

std::vector<float> RandomLogits(int n, float scale, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> logits(n);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

double NaiveLogSumExp(const std::vector<float>& logits) {
  long double sum = 0;
  const float max = *std::max_element(logits.begin(), logits.end());
  for (const float logit : logits) sum += std::exp(static_cast<long double>(logit) - max);
  return static_cast<double>(max + std::log(sum));
}

TEST(LogSumExpTest, EqualsTheDirectSum) {
  for (const int n : {1, 2, 15, 16, 17, 1000, 1024, 1025, 49152}) {
    for (const float scale : {0.01F, 1.0F, 10.0F, 1000.0F}) {
      const std::vector<float> logits = RandomLogits(n, scale, n);
      const double expected = NaiveLogSumExp(logits);
      EXPECT_NEAR(LogSumExp(logits), expected, 1e-6 * std::max(1.0, std::abs(expected) * 1e-3))
          << n << " logits, scale " << scale;
    }
  }
}

TEST(LogSumExpTest, HugeLogitsDoNotOverflow) {
  const std::vector<float> logits = {3e38F, 3e38F, -3e38F};
  EXPECT_DOUBLE_EQ(LogSumExp(logits), static_cast<double>(3e38F));
}

TEST(LogSumExpTest, IsNanForAnyNonFiniteLogit) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float bad : {infinity, -infinity, std::nanf("")}) {
    for (const int place : {0, 7, 16, 32, 34}) {
      std::vector<float> logits = RandomLogits(35, 1, 1);
      logits[place] = bad;
      EXPECT_TRUE(std::isnan(LogSumExp(logits))) << bad << " at " << place;
    }
  }
}

TEST(ExpWeightsTest, EqualTheExponentialWithinFourUlp) {
  std::vector<float> logits;
  for (float x = 0; x > -90; x -= 0.0137F) logits.push_back(x);
  std::vector<float> weights(logits.size());
  const double sum = ExpWeights(logits, 0, 1, weights);
  double expected_sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double expected = logits[i] < -87 ? 0 : std::exp(static_cast<double>(logits[i]));
    EXPECT_NEAR(weights[i], expected, 4 * 6e-8 * expected) << logits[i];
    expected_sum += expected;
  }
  EXPECT_NEAR(sum, expected_sum, 1e-6 * expected_sum);
}

TEST(ExpWeightsTest, ColdTemperatureLeavesOnlyTheBest) {
  const std::vector<float> logits = {1, 2, -std::numeric_limits<float>::infinity(), 1.999F};
  std::vector<float> weights(logits.size());
  EXPECT_EQ(ExpWeights(logits, 2, std::numeric_limits<double>::infinity(), weights), 1);
  EXPECT_EQ(weights, (std::vector<float>{0, 1, 0, 0}));
}

}  // namespace
}  // namespace keyhole
