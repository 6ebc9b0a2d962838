#include "engine/selection/run_scores.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <vector>

namespace keyhole {
namespace {

using testing::ElementsAreArray;

constexpr std::int32_t kBlock = kDigestBlockTokens;

struct WideRuns {
  std::vector<std::int32_t> rows;
  std::vector<float> scores;
  std::vector<std::int32_t> borders;
};

// Every row within reach of a candidate, in order; the candidates' own scores.
WideRuns Expected(const std::map<std::int32_t, float>& scores,
                  RowRange middle,
                  std::int32_t reach) {
  WideRuns expected;
  for (std::int32_t row = middle.begin; row < middle.end; ++row) {
    const auto near = scores.lower_bound(row - reach);
    if (near == scores.end() || near->first > row + reach) continue;
    if (!expected.rows.empty() && expected.rows.back() != row - 1) {
      expected.borders.push_back(static_cast<std::int32_t>(expected.rows.size()));
    }
    expected.rows.push_back(row);
    const auto own = scores.find(row);
    expected.scores.push_back(own == scores.end() ? -std::numeric_limits<float>::infinity()
                                                  : own->second);
  }
  return expected;
}

TEST(WidenRunsTest, EqualsTheRowsWithinReach) {
  std::mt19937 random(1);
  RunScores runs;
  for (const RowRange middle : {RowRange{0, 320}, {5, 333}, {16, 331}, {15, 47}}) {
    for (const double share : {0.05, 0.3, 0.8, 1.0}) {
      for (const std::int32_t reach : {0, 1, 8, 16, 40, 1000}) {
        std::vector<std::int32_t> blocks;
        std::map<std::int32_t, float> scores;
        for (std::int32_t block = middle.begin / kBlock; block * kBlock < middle.end; ++block) {
          if (std::bernoulli_distribution(share)(random) || blocks.empty()) {
            blocks.push_back(block);
            for (std::int32_t row = block * kBlock; row < (block + 1) * kBlock; ++row) {
              if (row < middle.begin || row >= middle.end) continue;
              scores[row] = std::uniform_real_distribution<float>()(random);
            }
          }
        }
        std::vector<float> in;
        in.reserve(scores.size());
        for (const auto& [row, score] : scores) in.push_back(score);
        const std::int32_t begin = std::max(0, middle.begin - blocks.front() * kBlock);
        const Candidates candidates = {{begin, begin + static_cast<std::int32_t>(in.size())},
                                       blocks};
        WidenRuns(candidates, in, middle, reach, runs);
        const WideRuns expected = Expected(scores, middle, reach);
        std::vector<std::int32_t> rows(runs.scores.size());
        std::iota(rows.begin(), rows.end(), 0);
        PlacesToRows(runs, rows);
        ASSERT_THAT(rows, ElementsAreArray(expected.rows)) << reach;
        ASSERT_THAT(runs.scores, ElementsAreArray(expected.scores)) << reach;
        ASSERT_THAT(runs.borders, ElementsAreArray(expected.borders)) << reach;
        for (std::size_t i = 0; i < in.size(); ++i) {
          ASSERT_EQ(scores.count(candidates.RowAt(begin + static_cast<std::int32_t>(i))), 1);
        }
      }
    }
  }
}

TEST(PlacesToRowsTest, TakesSomePlacesOfSomeRuns) {
  RunScores runs;
  WidenRuns(
      {{0, 48}, std::vector<std::int32_t>{1, 4, 9}}, std::vector<float>(48), {0, 400}, 2, runs);
  std::vector<std::int32_t> places = {0, 19, 41, 59};
  PlacesToRows(runs, places);
  EXPECT_THAT(places, ElementsAreArray({14, 33, 143, 161}));
  places.clear();
  PlacesToRows(runs, places);
  EXPECT_THAT(places, testing::IsEmpty());
}

}  // namespace
}  // namespace keyhole
