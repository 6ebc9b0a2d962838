#include "engine/calibration/digest_scales.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/calibration/random_rows.h"

namespace keyhole {
namespace {

constexpr std::int32_t kGroups = 2;
constexpr std::int32_t kRank = 4;
constexpr std::int32_t kDim = 8;
constexpr std::int64_t kKeys = 3000;

FactorMaps RandomMaps() {
  FactorMaps maps;
  maps.n_groups = kGroups;
  maps.rank = kRank;
  maps.dim = kDim;
  const std::vector<float> query = RandomRows(kGroups * kRank, kDim, 5);
  const std::vector<float> key = RandomRows(kGroups * kRank, kDim, 6);
  maps.query.assign(query.begin(), query.end());
  maps.key.assign(key.begin(), key.end());
  return maps;
}

TEST(DigestScalesTest, CoversAllButOneInAThousandKeys) {
  const std::vector<float> keys = RandomRows(kKeys, kGroups * kDim, 4);
  const LayerDigestMaps fitted = FitToInt8(RandomMaps(), keys);
  for (std::int32_t row = 0; row < kGroups * kRank; ++row) {
    int beyond = 0;
    double largest = 0;
    for (std::int64_t key = 0; key < kKeys; ++key) {
      const float* x = keys.data() + (key * kGroups + row / kRank) * kDim;
      double sum = 0;
      for (std::int32_t i = 0; i < kDim; ++i) sum += fitted.key[row * kDim + i] * x[i];
      if (std::abs(sum) > 127.001) {
        ++beyond;
      } else {
        largest = std::max(largest, std::abs(sum));
      }
    }
    EXPECT_EQ(beyond, kKeys / 1000) << row;
    EXPECT_NEAR(largest, 127, 0.001) << row;
  }
}

TEST(DigestScalesTest, ProductsOfQueriesAndKeysStay) {
  const std::vector<float> keys = RandomRows(kKeys, kGroups * kDim, 4);
  const FactorMaps maps = RandomMaps();
  const LayerDigestMaps fitted = FitToInt8(maps, keys);
  for (std::int32_t row = 0; row < kGroups * kRank; ++row) {
    for (std::int32_t i = row * kDim; i < (row + 1) * kDim; ++i) {
      for (std::int32_t j = row * kDim; j < (row + 1) * kDim; ++j) {
        const double before = maps.query[i] * maps.key[j];
        EXPECT_NEAR(fitted.query[i] * fitted.key[j], before, 1e-5 * std::abs(before));
      }
    }
  }
}

TEST(DigestScalesTest, ADimensionOfZerosKeepsItsScale) {
  FactorMaps maps = RandomMaps();
  std::fill_n(maps.key.begin(), kDim, 0);
  const LayerDigestMaps fitted = FitToInt8(maps, RandomRows(10, kGroups * kDim, 4));
  for (std::int32_t i = 0; i < kDim; ++i) {
    EXPECT_EQ(fitted.key[i], 0);
    EXPECT_EQ(fitted.query[i], static_cast<float>(maps.query[i]));
  }
}

}  // namespace
}  // namespace keyhole
