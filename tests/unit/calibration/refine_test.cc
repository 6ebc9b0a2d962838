#include "engine/calibration/refine.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/calibration/random_rows.h"

namespace keyhole {
namespace {

constexpr std::int32_t kDim = 16;
constexpr std::int32_t kRank = 8;

class RefineTest : public ::testing::Test {
 protected:
  FactorMaps Disturbed(double size) const {
    FactorMaps maps = ClosedForm(moments_, kRank);
    std::mt19937 bits(9);
    std::normal_distribution<double> normal;
    for (double& value : maps.query) value *= 1 + size * normal(bits);
    for (double& value : maps.key) value *= 1 + size * normal(bits);
    return maps;
  }

  const std::vector<float> queries_ = RandomRows(2000, kDim, 7);
  const std::vector<float> keys_ = RandomRows(1500, kDim, 8);
  const FormMoments moments_ = MomentsOf(queries_, keys_, kDim);
  const RefineRows rows_ = {queries_, keys_};
};

TEST_F(RefineTest, LowersTheObjectiveOffTheOptimum) {
  FactorMaps maps = Disturbed(0.3);
  const double before = ExpectedError(moments_, maps)[0];
  const RefineErrors errors = Refine(rows_, {}, 0, maps);
  const double after = ExpectedError(moments_, maps)[0];
  EXPECT_LT(after, before / 2);
  EXPECT_LT(errors.after, errors.before);
  // Both are relative roots of the same objective.
  EXPECT_NEAR(errors.after / errors.before, std::sqrt(after / before), 1e-3);
  EXPECT_GE(after, ExpectedError(moments_, ClosedForm(moments_, kRank))[0]);
}

TEST_F(RefineTest, LeavesTheOptimumAlone) {
  const FactorMaps best = ClosedForm(moments_, kRank);
  FactorMaps maps = best;
  Refine(rows_, {}, 0, maps);
  EXPECT_LE(ExpectedError(moments_, maps)[0], ExpectedError(moments_, best)[0] * (1 + 1e-6));
}

TEST_F(RefineTest, IsTheSameEveryTime) {
  FactorMaps first = Disturbed(0.3);
  FactorMaps second = first;
  Refine(rows_, {}, 0, first);
  Refine(rows_, {}, 0, second);
  EXPECT_EQ(first.query, second.query);
  EXPECT_EQ(first.key, second.key);
}

TEST_F(RefineTest, RowsOfZerosChangeNothing) {
  FactorMaps maps = Disturbed(0.3);
  const FactorMaps before = maps;
  const std::vector<float> zeros(queries_.size());
  Refine({zeros, keys_}, {}, 0, maps);
  EXPECT_EQ(maps.query, before.query);
}

}  // namespace
}  // namespace keyhole
