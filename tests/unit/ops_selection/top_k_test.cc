#include "engine/ops/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>

#include "tests/unit/ops_selection/digest_fixture.h"

namespace keyhole {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

std::vector<std::int32_t> SortedTopK(const std::vector<float>& scores,
                                     std::int32_t k,
                                     std::int32_t first) {
  std::vector<std::int32_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(), [&](std::int32_t a, std::int32_t b) {
    return scores[a] > scores[b];
  });
  rows.resize(std::min<std::size_t>(k, rows.size()));
  std::sort(rows.begin(), rows.end());
  for (std::int32_t& row : rows) row += first;
  return rows;
}

using Scores = std::function<float(std::mt19937&, std::int64_t)>;

struct Distribution {
  std::string name;
  Scores score;
};

float Normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }

const Distribution kDistributions[] = {
    {"normal", [](std::mt19937& random, std::int64_t) { return Normal(random); }},
    {"votes", [](std::mt19937& random, std::int64_t) { return std::exp(4 * Normal(random) - 20); }},
    {"few values", [](std::mt19937& random, std::int64_t) { return random() % 7 * 0.25F - 1; }},
    {"all equal", [](std::mt19937&, std::int64_t) { return -3.0F; }},
    {"both zeros",
     [](std::mt19937& random, std::int64_t) { return random() % 2 != 0 ? 0.0F : -0.0F; }},
    {"ascending", [](std::mt19937&, std::int64_t i) { return static_cast<float>(i); }},
    {"descending", [](std::mt19937&, std::int64_t i) { return static_cast<float>(-i); }},
    {"plateaus",
     [](std::mt19937&, std::int64_t i) { return std::sin(static_cast<float>(i / 17)); }},
    {"one apart in the last bits",
     [](std::mt19937& random, std::int64_t) {
       return std::bit_cast<float>(0x3F800000U + static_cast<std::uint32_t>(random() % 3000));
     }},
    {"infinities",
     [](std::mt19937& random, std::int64_t) {
       const float inf = std::numeric_limits<float>::infinity();
       return random() % 3 == 0 ? inf : random() % 2 == 0 ? -inf : Normal(random);
     }},
};

class TopKTest : public testing::TestWithParam<CpuLevel> {
 protected:
  TopKWorkspace workspace_;
};

TEST_P(TopKTest, EqualsAStableSort) {
  Device device(2, GetParam());
  std::mt19937 random(1);
  std::vector<std::int32_t> rows;
  for (const std::int64_t n : {0, 1, 2, 15, 16, 17, 255, 256, 257, 4095, 4096, 5000, 70001}) {
    for (const Distribution& distribution : kDistributions) {
      std::vector<float> scores(n);
      for (std::int64_t i = 0; i < n; ++i) scores[i] = distribution.score(random, i);
      for (const std::int64_t k : {std::int64_t{0},
                                   std::int64_t{1},
                                   std::int64_t{2},
                                   std::int64_t{100},
                                   n / 2,
                                   n - 1,
                                   n,
                                   n + 1}) {
        if (k < 0) continue;
        const auto count = static_cast<std::int32_t>(k);
        TopK(device, scores, count, 1000, workspace_, rows);
        ASSERT_THAT(rows, ElementsAreArray(SortedTopK(scores, count, 1000)))
            << distribution.name << " " << n << " " << k;
      }
    }
  }
}

TEST_P(TopKTest, SeveralThreadsChooseTheSame) {
  std::mt19937 random(2);
  std::vector<float> scores(300'000);
  for (float& x : scores) x = static_cast<float>(random() % 5000);
  const std::vector<std::int32_t> expected = SortedTopK(scores, 777, 0);
  for (const int n_threads : {1, 2, 3}) {
    Device device(n_threads, GetParam());
    std::vector<std::int32_t> rows;
    TopK(device, scores, 777, 0, workspace_, rows);
    EXPECT_THAT(rows, ElementsAreArray(expected)) << n_threads;
  }
}

TEST_P(TopKTest, TiesGoToTheSmallerRow) {
  Device device(1, GetParam());
  std::vector<std::int32_t> rows;
  TopK(device, std::vector<float>{1, 5, 0.0F, -0.0F, 5, -0.0F, 0.0F}, 4, 10, workspace_, rows);
  EXPECT_THAT(rows, ElementsAre(10, 11, 12, 14));
  TopK(device, std::vector<float>{-1, -0.0F, 0.0F, -2}, 1, 0, workspace_, rows);
  EXPECT_THAT(rows, ElementsAre(1));
}

TEST_P(TopKTest, SurvivesWhatIsNoNumber) {
  Device device(1, GetParam());
  std::vector<std::int32_t> rows;
  std::vector<float> scores(10'000, std::numeric_limits<float>::quiet_NaN());
  TopK(device, scores, 5, 0, workspace_, rows);
  EXPECT_LE(rows.size(), 5);
  scores[77] = 1;
  TopK(device, std::span(scores).first(100), 5, 0, workspace_, rows);
  EXPECT_LE(rows.size(), 5);
}

TEST_P(TopKTest, RefusesANegativeNumber) {
  Device device(1, GetParam());
  std::vector<std::int32_t> rows;
  EXPECT_THROW(TopK(device, std::vector<float>{1}, -1, 0, workspace_, rows), std::logic_error);
}

INSTANTIATE_TEST_SUITE_P(Levels, TopKTest, testing::ValuesIn(AvailableLevels()), LevelTestName);

}  // namespace
}  // namespace keyhole
