#include "engine/ops/max_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>

#include "tests/unit/ops_selection/digest_fixture.h"

namespace keyhole {
namespace {

using testing::ElementsAreArray;

std::vector<float> NaivePool(const std::vector<float>& in, std::int32_t eps) {
  std::vector<float> out(in.size());
  const auto n = static_cast<std::int64_t>(in.size());
  for (std::int64_t j = 0; j < n; ++j) {
    out[j] = *std::max_element(in.begin() + std::max<std::int64_t>(j - eps, 0),
                               in.begin() + std::min<std::int64_t>(j + eps + 1, n));
  }
  return out;
}

std::vector<float> RandomScores(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> scores(n);
  for (float& x : scores) x = normal(random);
  return scores;
}

class MaxPoolTest : public testing::TestWithParam<CpuLevel> {};

TEST_P(MaxPoolTest, EqualsTheMaximumOfEachNeighbourhood) {
  Device device(2, GetParam());
  for (const std::size_t n : {0, 1, 2, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 40000}) {
    const std::vector<float> in = RandomScores(n, static_cast<unsigned>(n));
    for (const std::int32_t eps : {0, 1, 2, 3, 5, 8, 13, 64, 1000}) {
      std::vector<float> out(n);
      MaxPool(device, in, eps, out);
      ASSERT_THAT(out, ElementsAreArray(NaivePool(in, eps))) << n << " " << eps;
    }
  }
}

TEST_P(MaxPoolTest, ANeighbourhoodLargerThanAllIsTheMaximumEverywhere) {
  Device device(3, GetParam());
  const std::vector<float> in = RandomScores(9000, 1);
  std::vector<float> out(in.size());
  MaxPool(device, in, std::numeric_limits<std::int32_t>::max(), out);
  EXPECT_THAT(out, testing::Each(*std::max_element(in.begin(), in.end())));
}

TEST_P(MaxPoolTest, NothingIsSharedAcrossABorder) {
  Device device(2, GetParam());
  const std::vector<float> in = RandomScores(20'000, 3);
  const std::vector<std::int32_t> borders = {1, 2, 7, 24, 40, 41, 4096, 4100, 16384, 19'999};
  for (const std::int32_t eps : {0, 1, 3, 8, 100}) {
    std::vector<float> expected;
    std::size_t begin = 0;
    for (std::size_t i = 0; i <= borders.size(); ++i) {
      const std::size_t end = i < borders.size() ? borders[i] : in.size();
      const std::vector<float> pooled = NaivePool({in.begin() + begin, in.begin() + end}, eps);
      expected.insert(expected.end(), pooled.begin(), pooled.end());
      begin = end;
    }
    std::vector<float> out(in.size());
    MaxPool(device, in, borders, eps, out);
    ASSERT_THAT(out, ElementsAreArray(expected)) << eps;
  }
}

TEST_P(MaxPoolTest, KeepsInfinities) {
  Device device(1, GetParam());
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> in = {-inf, -inf, -inf, 1, inf, -inf};
  std::vector<float> out(in.size());
  MaxPool(device, in, 1, out);
  EXPECT_THAT(out, testing::ElementsAre(-inf, -inf, 1, inf, inf, inf));
}

TEST_P(MaxPoolTest, RefusesWrongArguments) {
  Device device(1, GetParam());
  std::vector<float> in(4);
  std::vector<float> out(4);
  EXPECT_THROW(MaxPool(device, in, 1, in), std::logic_error);
  EXPECT_THROW(MaxPool(device, in, -1, out), std::logic_error);
  EXPECT_THROW(MaxPool(device, in, 1, std::span(out).first(3)), std::logic_error);
  for (const std::vector<std::int32_t>& borders :
       {std::vector{0}, std::vector{4}, std::vector{2, 2}, std::vector{3, 1}}) {
    EXPECT_THROW(MaxPool(device, in, borders, 1, out), std::logic_error);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, MaxPoolTest, testing::ValuesIn(AvailableLevels()), LevelTestName);

}  // namespace
}  // namespace keyhole
