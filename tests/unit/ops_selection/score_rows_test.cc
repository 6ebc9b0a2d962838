#include "engine/ops/score_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "tests/unit/ops_selection/digest_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 64;

struct Shape {
  std::int32_t n_groups = 3;
  std::int32_t heads_of_group = 3;
  std::int32_t rank = 32;
  std::int32_t n_probes = 1;
  ScoreRule rule = ScoreRule::kVote;
};

// Digests, queries and the scores written out in f64.
struct Problem {
  Problem(const Shape& shape_in, RowRange rows_in, unsigned seed)
      : shape(shape_in),
        rows(rows_in),
        digests({.n_slots = 2, .n_groups = shape.n_groups, .rank = shape.rank, .page_size = kPage},
                rows.end,
                seed) {
    std::mt19937 random(seed + 1);
    std::uniform_int_distribution<int> code(-127, 127);
    queries.resize(static_cast<std::size_t>(n_queries()) * shape.rank);
    for (std::int8_t& x : queries) x = static_cast<std::int8_t>(code(random));
    // Logits with a deviation of about 2, more and less.
    const double product = 74.0 * 74.0 * std::sqrt(shape.rank);
    std::uniform_real_distribution<double> deviation(0.5, 4);
    scales.resize(n_queries());
    for (float& x : scales) x = static_cast<float>(deviation(random) / product);
  }

  std::int32_t n_heads() const { return shape.n_groups * shape.heads_of_group; }
  std::int32_t n_queries() const { return shape.n_probes * n_heads(); }
  std::int32_t RowAt(std::int32_t place) const {
    return blocks.empty() ? place : blocks[place / 16] * 16 + place % 16;
  }

  ScoreRowsParams Params(std::vector<float>& out) const {
    out.assign(std::max(rows.size(), 0), std::numeric_limits<float>::quiet_NaN());
    return {.store = digests.store.get(),
            .slot = 1,
            .pages = digests.pages,
            .rows = rows,
            .blocks = blocks,
            .rule = shape.rule,
            .n_probes = shape.n_probes,
            .n_heads = n_heads(),
            .queries = queries.data(),
            .scales = scales.data(),
            .out = out.data()};
  }

  // s[row] of one query.
  std::vector<double> Logits(std::int32_t query) const {
    const std::int32_t group = query % n_heads() / shape.heads_of_group;
    std::vector<double> s(rows.size());
    for (std::int32_t j = 0; j < rows.size(); ++j) {
      std::int32_t sum = 0;
      for (std::int32_t c = 0; c < shape.rank; ++c) {
        sum += queries[query * shape.rank + c] *
               CodeAt(*digests.store, 1, digests.pages, RowAt(rows.begin + j), group, c);
      }
      s[j] = static_cast<double>(sum) * scales[query];
    }
    return s;
  }

  std::vector<double> Expected() const {
    std::vector<double> scores(rows.size(), -std::numeric_limits<double>::infinity());
    for (std::int32_t probe = 0; probe < shape.n_probes; ++probe) {
      std::vector<double> votes(rows.size(), 0.0);
      for (std::int32_t head = 0; head < n_heads(); ++head) {
        std::vector<double> s = Logits(probe * n_heads() + head);
        const double top = *std::max_element(s.begin(), s.end());
        double sum = 0;
        for (const double x : s) sum += std::exp(x - top);
        for (std::int32_t j = 0; j < rows.size(); ++j) {
          votes[j] += std::exp(s[j] - top) / sum;
          if (shape.rule == ScoreRule::kShift) scores[j] = std::max(scores[j], s[j] - top);
        }
      }
      if (shape.rule == ScoreRule::kShift) continue;
      for (std::int32_t j = 0; j < rows.size(); ++j) scores[j] = std::max(scores[j], votes[j]);
    }
    return scores;
  }

  Shape shape;
  RowRange rows;
  std::vector<std::int32_t> blocks;  // then rows are places in them
  DigestSequence digests;
  std::vector<std::int8_t> queries;
  std::vector<float> scales;
};

std::vector<float> ScoresOf(const Problem& problem, Device& device) {
  ScoreWorkspace workspace;
  std::vector<float> out;
  const ScoreRowsParams params = problem.Params(out);
  ScoreRows(device, {&params, 1}, workspace);
  return out;
}

std::vector<std::uint32_t> BitsOf(const std::vector<float>& x) {
  std::vector<std::uint32_t> bits(x.size());
  std::transform(
      x.begin(), x.end(), bits.begin(), [](float v) { return std::bit_cast<std::uint32_t>(v); });
  return bits;
}

void ExpectFormula(const Problem& problem, Device& device) {
  const std::vector<float> out = ScoresOf(problem, device);
  const std::vector<double> expected = problem.Expected();
  for (std::size_t j = 0; j < out.size(); ++j) {
    // A vote is a sum of powers, each as exact as its f32 logit; a shift a difference of logits.
    const double tolerance =
        problem.shape.rule == ScoreRule::kVote ? 1e-5 * expected[j] + 1e-35 : 1e-5;
    ASSERT_NEAR(out[j], expected[j], tolerance)
        << "candidate " << j << " of [" << problem.rows.begin << ", " << problem.rows.end << "), "
        << problem.shape.n_groups << " groups, " << problem.shape.n_probes << " probes";
  }
}

class ScoreRowsTest : public testing::TestWithParam<CpuLevel> {
 protected:
  Device device_{2, GetParam()};
};

TEST_P(ScoreRowsTest, EqualsTheFormulaForAnyNumberOfCandidates) {
  for (const ScoreRule rule : {ScoreRule::kVote, ScoreRule::kShift}) {
    for (const std::int32_t n_probes : {1, 3}) {
      for (const std::int32_t begin : {0, 5, 16, 63, 128}) {
        for (const std::int32_t n :
             {1, 2, 15, 16, 17, kPage - 1, kPage, kPage + 1, 511, 512, 513, 3000}) {
          const Shape shape = {.n_probes = n_probes, .rule = rule};
          ExpectFormula(Problem(shape, {begin, begin + n}, n), device_);
        }
      }
    }
  }
}

TEST_P(ScoreRowsTest, EqualsTheFormulaForAnyShape) {
  constexpr std::int32_t kRanks[] = {4, 36, 64};
  for (const ScoreRule rule : {ScoreRule::kVote, ScoreRule::kShift}) {
    for (const std::int32_t n_groups : {1, 3, 4, 8}) {
      for (const std::int32_t heads : {1, 2, 4, 7, 9}) {
        for (const std::int32_t n_probes : {1, 8, 13}) {
          const Shape shape = {n_groups, heads, kRanks[(heads + n_probes) % 3], n_probes, rule};
          ExpectFormula(Problem(shape, {7, 530}, 1), device_);
        }
      }
    }
  }
}

TEST_P(ScoreRowsTest, EqualsTheFormulaForEachQueryOfAChunk) {
  ExpectFormula(Problem({1, 1, 64, 512, ScoreRule::kShift}, {3, 1500}, 1), device_);
  ExpectFormula(Problem({3, 3, 32, 40, ScoreRule::kShift}, {3, 700}, 2), device_);
}

TEST_P(ScoreRowsTest, SomeBlocksAreScoredAsIfThereWereNoOthers) {
  for (const ScoreRule rule : {ScoreRule::kVote, ScoreRule::kShift}) {
    for (const std::int32_t n_probes : {1, 3}) {
      Problem problem({.n_probes = n_probes, .rule = rule}, {0, 3000}, 1);
      for (std::int32_t block = 1; block < 3000 / 16; block += block % 3 == 0 ? 1 : 4) {
        problem.blocks.push_back(block);
      }
      const auto places = static_cast<std::int32_t>(problem.blocks.size()) * 16;
      for (const RowRange rows : {RowRange{0, places}, {5, places - 9}, {17, 18}}) {
        problem.rows = rows;
        ExpectFormula(problem, device_);
      }
    }
  }
}

TEST_P(ScoreRowsTest, NoCandidatesAreNoWork) {
  EXPECT_THAT(ScoresOf(Problem({}, {20, 20}, 1), device_), testing::IsEmpty());
}

// The largest products that codes can have, of both signs.
TEST_P(ScoreRowsTest, NothingSaturates) {
  for (const int digest : {-127, 127}) {
    for (const int query : {-128, -127, 127}) {
      Problem problem({1, 1, 256, 2, ScoreRule::kShift}, {0, 33}, 1);
      std::fill(problem.queries.begin(), problem.queries.end(), static_cast<std::int8_t>(query));
      std::fill(problem.scales.begin(), problem.scales.end(), 1.0F);
      for (const PageId page : problem.digests.pages) {
        std::fill_n(problem.digests.store->Slot(page, 1),
                    problem.digests.store->layout().slot_bytes(),
                    static_cast<std::uint8_t>(kDigestBias + digest));
      }
      // One row differs in one code by one.
      *problem.digests.store->Slot(problem.digests.pages[0], 1) += digest > 0 ? -1 : 1;
      const std::vector<double> expected = problem.Expected();
      const std::vector<float> out = ScoresOf(problem, device_);
      for (std::size_t j = 0; j < out.size(); ++j) ASSERT_EQ(out[j], expected[j]) << j;
    }
  }
}

// Softmax over extreme logits: one candidate takes everything, or all share alike.
TEST_P(ScoreRowsTest, VotesOfExtremeScales) {
  for (const float scale : {0.0F, 1e-20F, 100.0F}) {
    for (const std::int32_t n_probes : {1, 2}) {
      Problem problem({.n_probes = n_probes}, {1, 1000}, 1);
      std::fill(problem.scales.begin(), problem.scales.end(), scale);
      const std::vector<double> expected = problem.Expected();
      const std::vector<float> out = ScoresOf(problem, device_);
      for (std::size_t j = 0; j < out.size(); ++j) ASSERT_NEAR(out[j], expected[j], 1e-5) << j;
    }
  }
}

TEST_P(ScoreRowsTest, AnyNumberOfThreadsGivesTheSameBits) {
  const Shape shapes[] = {
      {}, {.n_probes = 8}, {1, 1, 64, 20, ScoreRule::kShift}, {1, 1, 64, 1, ScoreRule::kShift}};
  for (const Shape& shape : shapes) {
    const Problem problem(shape, {131, 40'000}, 1);
    Device one(1, GetParam());
    const std::vector<std::uint32_t> expected = BitsOf(ScoresOf(problem, one));
    for (const int n_threads : {2, 3}) {
      Device device(n_threads, GetParam());
      EXPECT_EQ(BitsOf(ScoresOf(problem, device)), expected) << n_threads;
    }
  }
}

TEST_P(ScoreRowsTest, ABatchEqualsEachAloneBitForBit) {
  const Problem problems[] = {
      {{}, {130, 9000}, 1},
      {{}, {128, 128}, 2},
      {{.n_probes = 8}, {100, 3000}, 3},
      {{.n_probes = 5, .rule = ScoreRule::kShift}, {0, 17}, 4},
      {{}, {0, 1}, 5},
      {{1, 2, 64, 1, ScoreRule::kVote}, {5, 120'000}, 6},  // keeps more than a round does
      {{}, {64, 70'000}, 7},
      {{}, {64, 90'000}, 8},
      {{}, {64, 700}, 9},
  };
  std::vector<std::vector<float>> outs(std::size(problems));
  std::vector<ScoreRowsParams> batch;
  for (std::size_t i = 0; i < outs.size(); ++i) batch.push_back(problems[i].Params(outs[i]));
  ScoreWorkspace workspace;
  ScoreRows(device_, batch, workspace);
  for (std::size_t i = 0; i < outs.size(); ++i) {
    EXPECT_EQ(BitsOf(outs[i]), BitsOf(ScoresOf(problems[i], device_))) << i;
  }
}

TEST_P(ScoreRowsTest, RefusesWrongArguments) {
  ScoreWorkspace workspace;
  const Problem problem({}, {0, 100}, 1);
  std::vector<float> out;
  const auto refuses = [&](const auto& change) {
    ScoreRowsParams params = problem.Params(out);
    change(params);
    EXPECT_THROW(ScoreRows(device_, {&params, 1}, workspace), std::logic_error);
  };
  refuses([](ScoreRowsParams& params) { params.rows.end = 2 * kPage + 1; });
  refuses([](ScoreRowsParams& params) { params.rows.begin = -1; });
  refuses([](ScoreRowsParams& params) { params.n_probes = 0; });
  refuses([](ScoreRowsParams& params) { params.n_heads = 4; });
  refuses([](ScoreRowsParams& params) { params.slot = 2; });
  refuses([](ScoreRowsParams& params) { params.queries = nullptr; });
}

INSTANTIATE_TEST_SUITE_P(Levels,
                         ScoreRowsTest,
                         testing::ValuesIn(AvailableLevels()),
                         LevelTestName);

// Products are exact and shifts round each step alike; powers of two may differ by what a level
// fuses.
TEST(ScoreRowsLevelsTest, LevelsAgree) {
  const Shape shapes[] = {{.n_probes = 9, .rule = ScoreRule::kShift}, {.n_probes = 3}, {}};
  for (const Shape& shape : shapes) {
    const Problem problem(shape, {10, 5000}, 1);
    Device portable(1, CpuLevel::kPortable);
    const std::vector<float> expected = ScoresOf(problem, portable);
    std::vector<float> fused;
    for (const CpuLevel level : AvailableLevels()) {
      Device device(1, level);
      const std::vector<float> out = ScoresOf(problem, device);
      if (shape.rule == ScoreRule::kShift) {
        EXPECT_EQ(BitsOf(out), BitsOf(expected)) << CpuLevelName(level);
        continue;
      }
      for (std::size_t j = 0; j < out.size(); ++j) {
        ASSERT_NEAR(out[j], expected[j], 1e-6 * expected[j]) << CpuLevelName(level);
      }
      if (level == CpuLevel::kPortable) continue;
      if (fused.empty()) fused = out;
      EXPECT_EQ(BitsOf(out), BitsOf(fused)) << CpuLevelName(level);
    }
  }
}

}  // namespace
}  // namespace keyhole
