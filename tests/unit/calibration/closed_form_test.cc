#include "engine/calibration/closed_form.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <span>

#include "tests/unit/calibration/random_rows.h"

namespace keyhole {
namespace {

constexpr std::int32_t kDim = 12;
constexpr std::int64_t kRows = 60;

double Dot(const double* map, const float* row) {
  double sum = 0;
  for (std::int32_t i = 0; i < kDim; ++i) sum += map[i] * row[i];
  return sum;
}

struct Errors {
  double error = 0;  // mean square of q.k - q'.k' over all pairs
  double norm = 0;   // of q.k
};

// The objective itself, pair by pair.
Errors BruteError(const std::vector<float>& queries,
                  const std::vector<float>& keys,
                  const FactorMaps& maps) {
  Errors errors;
  const auto n_queries = static_cast<std::int64_t>(queries.size()) / kDim;
  const auto n_keys = static_cast<std::int64_t>(keys.size()) / kDim;
  for (std::int64_t i = 0; i < n_queries; ++i) {
    for (std::int64_t j = 0; j < n_keys; ++j) {
      const float* q = queries.data() + i * kDim;
      const float* k = keys.data() + j * kDim;
      double exact = 0;
      for (std::int32_t d = 0; d < kDim; ++d) exact += static_cast<double>(q[d]) * k[d];
      double compressed = 0;
      for (std::int32_t r = 0; r < maps.rank; ++r) {
        compressed += Dot(&maps.query[r * kDim], q) * Dot(&maps.key[r * kDim], k);
      }
      const auto n = static_cast<double>(n_queries * n_keys);
      errors.error += std::pow(exact - compressed, 2) / n;
      errors.norm += exact * exact / n;
    }
  }
  return errors;
}

class ClosedFormTest : public ::testing::Test {
 protected:
  const std::vector<float> queries_ = RandomRows(kRows, kDim, 1);
  const std::vector<float> keys_ = RandomRows(kRows + 7, kDim, 2);
  const FormMoments moments_ = MomentsOf(queries_, keys_, kDim);
};

TEST_F(ClosedFormTest, FullRankReproducesTheProducts) {
  const Errors errors = BruteError(queries_, keys_, ClosedForm(moments_, kDim));
  EXPECT_LT(std::sqrt(errors.error / errors.norm), 1e-6);
}

TEST_F(ClosedFormTest, ExpectedErrorIsTheMeanOverAllPairs) {
  const FactorMaps maps = ClosedForm(moments_, 4);
  const Errors errors = BruteError(queries_, keys_, maps);
  EXPECT_NEAR(ExpectedError(moments_, maps)[0], errors.error, 1e-9 * errors.norm);
}

TEST_F(ClosedFormTest, ErrorFallsWithTheRank) {
  double last = BruteError(queries_, keys_, ClosedForm(moments_, 1)).norm;
  for (std::int32_t rank = 1; rank <= kDim; ++rank) {
    const double error = BruteError(queries_, keys_, ClosedForm(moments_, rank)).error;
    EXPECT_LT(error, last) << rank;
    last = error;
  }
}

TEST_F(ClosedFormTest, NoSmallChangeLowersTheObjective) {
  const FactorMaps best = ClosedForm(moments_, 4);
  const double least = BruteError(queries_, keys_, best).error;
  std::mt19937 bits(3);
  std::normal_distribution<double> normal;
  for (int i = 0; i < 100; ++i) {
    FactorMaps changed = best;
    const double size = std::pow(10, -1 - i % 4);
    for (double& value : changed.query) value *= 1 + size * normal(bits);
    for (double& value : changed.key) value *= 1 + size * normal(bits);
    EXPECT_GE(BruteError(queries_, keys_, changed).error, least * (1 - 1e-9)) << i;
  }
}

TEST_F(ClosedFormTest, IsBetterThanThePrincipalDimensionsOfTheKeys) {
  // Keys projected on the first singular directions: the closed form for queries of unit moment.
  FormMoments blind = moments_;
  blind.query.assign(blind.query.size(), 0);
  for (std::int32_t i = 0; i < kDim; ++i) blind.query[i * kDim + i] = 1;
  EXPECT_LT(BruteError(queries_, keys_, ClosedForm(moments_, 4)).error,
            BruteError(queries_, keys_, ClosedForm(blind, 4)).error);
}

TEST_F(ClosedFormTest, GroupsAreSolvedApart) {
  FormMoments both = moments_;
  both.n_groups = 2;
  both.query.insert(both.query.end(), moments_.key.begin(), moments_.key.end());
  both.key.insert(both.key.end(), moments_.query.begin(), moments_.query.end());
  const FactorMaps maps = ClosedForm(both, 4);
  const FactorMaps first = ClosedForm(moments_, 4);
  EXPECT_TRUE(std::equal(first.query.begin(), first.query.end(), maps.query.begin()));
  EXPECT_NEAR(ExpectedError(both, maps)[0], ExpectedError(both, maps)[1], 1e-9);
}

TEST_F(ClosedFormTest, DimensionsThatNeverOccurDoNoHarm) {
  FormMoments flat = moments_;
  for (std::int32_t i = 0; i < kDim; ++i) {
    for (std::vector<double>* moment : {&flat.query, &flat.key}) {
      (*moment)[i * kDim + 5] = 0;
      (*moment)[5 * kDim + i] = 0;
    }
  }
  for (const double value : ClosedForm(flat, kDim).query) EXPECT_TRUE(std::isfinite(value));
  flat.key.assign(flat.key.size(), 0);
  for (const double value : ClosedForm(flat, 4).key) EXPECT_TRUE(std::isfinite(value));
}

}  // namespace
}  // namespace keyhole
