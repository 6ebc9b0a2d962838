#include "engine/model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/golden_file.h"

namespace keyhole {
namespace {

ModelConfig Config(std::int64_t head_dim, double theta, RopeScaling scaling = {}) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  config.rope_scaling = scaling;
  return config;
}

RopeScaling Scaling(RopeScalingKind kind, double factor, std::int64_t original_length = 0) {
  RopeScaling scaling;
  scaling.kind = kind;
  scaling.factor = factor;
  scaling.original_length = original_length;
  return scaling;
}

// Case i of tests/golden/make_rope_goldens.py.
std::vector<ModelConfig> Cases() {
  RopeScaling sharp_yarn = Scaling(RopeScalingKind::kYarn, 16, 4096);
  sharp_yarn.beta_fast = 16;
  sharp_yarn.beta_slow = 2;
  sharp_yarn.attention_factor = 1.25;
  ModelConfig with_factors = Config(64, 500000);
  for (int i = 0; i < 32; ++i) with_factors.rope_frequency_factors.push_back(1 + 7.0F * i / 31);
  return {Config(64, 10000),
          Config(64, 100000),
          Config(128, 10000, Scaling(RopeScalingKind::kLinear, 4)),
          Config(64, 10000, Scaling(RopeScalingKind::kNtk, 8)),
          Config(128, 1000000, Scaling(RopeScalingKind::kYarn, 4, 32768)),
          Config(64, 10000, sharp_yarn),
          Config(128, 500000, Scaling(RopeScalingKind::kLlama3, 8, 8192)),
          Config(64, 500000, Scaling(RopeScalingKind::kLlama3, 32, 8192)),
          with_factors};
}

TEST(RopeTableTest, EveryScalingEqualsTheGoldens) {
  const absl::StatusOr<GoldenFile> golden = GoldenFile::Open("rope.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  const auto positions = golden->Ints("positions");
  const std::vector<ModelConfig> cases = Cases();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const RopeTable table(cases[i], positions.back() + 1);
    const std::size_t half = table.head_dim() / 2;
    const auto cos = golden->Floats(std::to_string(i) + ".cos");
    const auto sin = golden->Floats(std::to_string(i) + ".sin");
    ASSERT_EQ(cos.size(), positions.size() * half);
    for (std::size_t row = 0; row < positions.size(); ++row) {
      for (std::size_t j = 0; j < half; ++j) {
        const std::size_t at = positions[row] * half + j;
        // Positions of 2e4 times one unit in the last place of a factor given in f32.
        const float tolerance = cases[i].rope_frequency_factors.empty() ? 1e-6F : 2e-3F;
        EXPECT_NEAR(table.rows().cos[at], cos[row * half + j], tolerance) << i << " " << at;
        EXPECT_NEAR(table.rows().sin[at], sin[row * half + j], tolerance) << i << " " << at;
      }
    }
  }
}

TEST(RopeTableTest, AttentionFactorIsThatOfYarnAndOneOtherwise) {
  const std::vector<ModelConfig> cases = Cases();
  EXPECT_EQ(RopeTable(cases[0], 1).attention_factor(), 1);
  EXPECT_EQ(RopeTable(cases[6], 1).attention_factor(), 1);
  EXPECT_FLOAT_EQ(RopeTable(cases[4], 1).attention_factor(), 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(RopeTable(cases[5], 1).attention_factor(), 1.25);
  EXPECT_EQ(
      RopeTable(Config(64, 10000, Scaling(RopeScalingKind::kYarn, 1, 4096)), 1).attention_factor(),
      1);
}

TEST(RopeTableTest, HasOneRowForEachPosition) {
  const RopeTable table(Config(8, 10000), 5);
  EXPECT_EQ(table.n_positions(), 5);
  EXPECT_EQ(table.head_dim(), 8);
  for (int j = 0; j < 4; ++j) {
    EXPECT_EQ(table.rows().cos[j], 1);
    EXPECT_EQ(table.rows().sin[j], 0);
  }
  EXPECT_FLOAT_EQ(table.rows().sin[4 * 4], std::sin(4.0));
}

}  // namespace
}  // namespace keyhole
