// RmsNorm, ApplyRope, SiluMul and AddInPlace against their definitions in f64.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/ops/add.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/rope.h"
#include "engine/ops/silu_mul.h"
#include "gtest/gtest.h"
#include "tests/unit/ops/op_test_support.h"

namespace keyhole {
namespace {

class RowOpsTest : public ::testing::TestWithParam<CpuLevel> {
 protected:
  Device device_{2, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Levels, RowOpsTest, ::testing::ValuesIn(AvailableLevels()), LevelTestName);

std::vector<float> RmsNormOf(Device& device,
                             const std::vector<float>& x,
                             const std::vector<float>& weight,
                             double eps) {
  const auto n = static_cast<std::int64_t>(weight.size());
  const auto n_rows = static_cast<std::int64_t>(x.size()) / n;
  at::Tensor out = EmptyTensor({n_rows, n});
  RmsNorm(device, ToTensor(x, {n_rows, n}), ToTensor(weight, {n}), eps, out);
  return ToVector(out);
}

TEST_P(RowOpsTest, RmsNormEqualsTheDefinition) {
  for (const std::int64_t n : {1, 5, 16, 33, 64, 577, 4096}) {
    const std::vector<float> x = RandomValues(7 * n, 1, 3);
    const std::vector<float> weight = RandomValues(n, 2);
    const std::vector<float> got = RmsNormOf(device_, x, weight, 1e-5);
    for (std::int64_t row = 0; row < 7; ++row) {
      double mean = 0;
      for (std::int64_t k = 0; k < n; ++k) mean += std::pow(x[row * n + k], 2.0) / n;
      for (std::int64_t k = 0; k < n; ++k) {
        const double want = x[row * n + k] / std::sqrt(mean + 1e-5) * weight[k];
        ASSERT_NEAR(got[row * n + k], want, 1e-6 * std::fabs(want) + 1e-12) << n;
      }
    }
  }
}

TEST_P(RowOpsTest, RmsNormInPlaceAndWithLeadingDimensions) {
  const std::vector<float> x = RandomValues(6 * 40, 3);
  const std::vector<float> weight = RandomValues(40, 4);
  at::Tensor heads = ToTensor(x, {2, 3, 40});
  RmsNorm(device_, heads, ToTensor(weight, {40}), 1e-6, heads);
  EXPECT_EQ(ToVector(heads), RmsNormOf(device_, x, weight, 1e-6));
}

TEST_P(RowOpsTest, RmsNormRowDoesNotDependOnTheOthers) {
  const std::vector<float> x = RandomValues(100 * 577, 5);
  const std::vector<float> weight = RandomValues(577, 6);
  const std::vector<float> together = RmsNormOf(device_, x, weight, 1e-5);
  for (int row = 0; row < 100; row += 11) {
    const auto first = x.begin() + row * 577;
    const auto at = together.begin() + row * 577;
    EXPECT_EQ(std::vector<float>(at, at + 577),
              RmsNormOf(device_, {first, first + 577}, weight, 1e-5));
  }
}

TEST_P(RowOpsTest, RopeEqualsTheDefinition) {
  for (const std::int64_t head_dim : {2, 6, 64, 80, 128}) {
    const std::int64_t half = head_dim / 2;
    const std::vector<std::int32_t> index = {4, 0, 2, 2, 1};
    const std::vector<float> x = RandomValues(5 * 3 * head_dim, 7);
    const std::vector<float> cos = RandomValues(5 * half, 8);
    const std::vector<float> sin = RandomValues(5 * half, 9);
    at::Tensor out = EmptyTensor({5, 3, head_dim});
    at::Tensor in = ToTensor(x, {5, 3, head_dim});
    ApplyRope(device_, in, {cos.data(), sin.data()}, index, out);
    const std::vector<float> got = ToVector(out);
    for (std::int64_t i = 0; i < 5 * 3 * half; ++i) {
      const std::int64_t at = i / half * head_dim + i % half;
      const std::int64_t angle = index[i / (3 * half)] * half + i % half;
      const double a = x[at];
      const double b = x[at + half];
      EXPECT_NEAR(got[at], a * cos[angle] - b * sin[angle], 2e-6);
      EXPECT_NEAR(got[at + half], b * cos[angle] + a * sin[angle], 2e-6);
    }
    ApplyRope(device_, in, {cos.data(), sin.data()}, index, in);
    EXPECT_EQ(ToVector(in), got);
  }
}

std::vector<float> SiluMulOf(Device& device,
                             const std::vector<float>& gate_up,
                             std::int64_t n_rows) {
  const auto width = static_cast<std::int64_t>(gate_up.size()) / n_rows;
  at::Tensor out = EmptyTensor({n_rows, width / 2});
  SiluMul(device, ToTensor(gate_up, {n_rows, width}), out);
  return ToVector(out);
}

TEST_P(RowOpsTest, SiluMulEqualsTheDefinition) {
  for (const std::int64_t ffn : {1, 3, 16, 37, 1536}) {
    const std::vector<float> gate_up = RandomValues(5 * 2 * ffn, 10, 8);
    const std::vector<float> got = SiluMulOf(device_, gate_up, 5);
    for (std::int64_t i = 0; i < 5 * ffn; ++i) {
      const double gate = gate_up[i / ffn * 2 * ffn + i % ffn];
      const double up = gate_up[i / ffn * 2 * ffn + ffn + i % ffn];
      const double want = gate / (1 + std::exp(-gate)) * up;
      ASSERT_NEAR(got[i], want, 5e-7 * std::fabs(want)) << gate;
    }
  }
}

TEST_P(RowOpsTest, SiluOfLargeAndStrangeValues) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> gate = {0.0F, -0.0F, 100, -100, 1e30F, -1e30F, kInfinity, std::nanf("")};
  std::vector<float> gate_up = gate;
  gate_up.resize(16, 1.0F);
  const std::vector<float> got = SiluMulOf(device_, gate_up, 1);
  EXPECT_EQ(got[0], 0);
  EXPECT_EQ(got[1], 0);
  EXPECT_EQ(got[2], 100);
  EXPECT_NEAR(got[3], 0, 1e-30);
  EXPECT_EQ(got[4], 1e30F);
  EXPECT_NEAR(got[5], 0, 1e-6);
  EXPECT_EQ(got[6], kInfinity);
  EXPECT_TRUE(std::isnan(got[7]));
}

TEST_P(RowOpsTest, SiluDoesNotDependOnThePlaceInARow) {
  const std::vector<float> gate = RandomValues(37, 11, 4);
  std::vector<float> gate_up = gate;
  gate_up.resize(74, 1.0F);
  const std::vector<float> together = SiluMulOf(device_, gate_up, 1);
  for (int i = 0; i < 37; ++i) EXPECT_EQ(SiluMulOf(device_, {gate[i], 1}, 1)[0], together[i]);
}

TEST_P(RowOpsTest, AddInPlaceAdds) {
  for (const std::int64_t n : {1, 15, 64, 20'001}) {
    const std::vector<float> x = RandomValues(n, 12);
    const std::vector<float> y = RandomValues(n, 13);
    at::Tensor sum = ToTensor(x, {1, n});
    AddInPlace(device_, sum, ToTensor(y, {1, n}));
    const std::vector<float> got = ToVector(sum);
    for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(got[i], x[i] + y[i]);
  }
}

TEST_P(RowOpsTest, LevelsWithFusedProductsAgree) {
  if (GetParam() == CpuLevel::kPortable) return;  // rounds products before it adds them
  Device best(1);
  const std::vector<float> x = RandomValues(3 * 578, 14, 3);
  const std::vector<float> weight = RandomValues(578, 15);
  EXPECT_EQ(RmsNormOf(device_, x, weight, 1e-5), RmsNormOf(best, x, weight, 1e-5));
  EXPECT_EQ(SiluMulOf(device_, x, 3), SiluMulOf(best, x, 3));
}

}  // namespace
}  // namespace keyhole
