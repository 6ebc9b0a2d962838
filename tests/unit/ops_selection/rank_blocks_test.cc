#include "engine/ops/rank_blocks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
  std::int32_t coarse_dims = 16;
  std::int32_t n_probes = 1;
};

// Digests, queries and the ranks written out in f64.
struct Problem {
  Problem(const Shape& shape_in, std::int32_t first_in, std::int32_t n)
      : shape(shape_in),
        first(first_in),
        end(first_in + n),
        digests({.n_slots = 2,
                 .n_groups = shape.n_groups,
                 .rank = shape.rank,
                 .page_size = kPage,
                 .coarse_dims = shape.coarse_dims},
                end * kDigestBlockTokens,
                static_cast<unsigned>(n)) {
    std::mt19937 random(static_cast<unsigned>(n) + 1);
    std::uniform_int_distribution<int> code(-127, 127);
    queries.resize(static_cast<std::size_t>(n_queries()) * shape.rank);
    for (std::int8_t& x : queries) x = static_cast<std::int8_t>(code(random));
    // Logits with a deviation of about 2, more and less.
    const double product = 74.0 * 74.0 * std::sqrt(shape.coarse_dims);
    std::uniform_real_distribution<double> deviation(0.5, 4);
    scales.resize(n_queries());
    for (float& x : scales) x = static_cast<float>(deviation(random) / product);
  }

  std::int32_t n_heads() const { return shape.n_groups * shape.heads_of_group; }
  std::int32_t n_queries() const { return shape.n_probes * n_heads(); }

  RankBlocksParams Params(std::vector<float>& out) const {
    out.assign(end - first, std::numeric_limits<float>::quiet_NaN());
    return {.store = digests.store.get(),
            .slot = 1,
            .pages = digests.pages,
            .first = first,
            .end = end,
            .n_probes = shape.n_probes,
            .n_heads = n_heads(),
            .queries = queries.data(),
            .scales = scales.data(),
            .out = out.data()};
  }

  // The largest of one block's logits.
  double Top(std::int32_t query, std::int32_t block) const {
    const std::int32_t group = query % n_heads() / shape.heads_of_group;
    std::int32_t top = std::numeric_limits<std::int32_t>::min();
    for (std::int32_t i = 0; i < kDigestBlockTokens; ++i) {
      std::int32_t sum = 0;
      for (std::int32_t c = 0; c < shape.coarse_dims; ++c) {
        const std::int32_t code =
            CodeAt(*digests.store, 1, digests.pages, block * kDigestBlockTokens + i, group, c);
        sum += queries[query * shape.rank + c] * CoarseCode(code, c);
      }
      top = std::max(top, sum);
    }
    return static_cast<double>(top) * scales[query];
  }

  std::vector<double> Expected() const {
    std::vector<double> best(end - first);
    for (std::int32_t probe = 0; probe < shape.n_probes; ++probe) {
      std::vector<double> votes(best.size());
      for (std::int32_t head = 0; head < n_heads(); ++head) {
        std::vector<double> s;
        for (std::int32_t b = first; b < end; ++b) {
          s.push_back(Top(probe * n_heads() + head, b));
        }
        const double top = *std::max_element(s.begin(), s.end());
        double sum = 0;
        for (const double x : s) sum += std::exp(x - top);
        for (std::size_t b = 0; b < s.size(); ++b) votes[b] += std::exp(s[b] - top) / sum;
      }
      for (std::size_t b = 0; b < best.size(); ++b) best[b] = std::max(best[b], votes[b]);
    }
    return best;
  }

  Shape shape;
  std::int32_t first;
  std::int32_t end;
  DigestSequence digests;
  std::vector<std::int8_t> queries;
  std::vector<float> scales;
};

std::vector<float> RanksOf(const Problem& problem, Device& device) {
  RankWorkspace workspace;
  std::vector<float> out;
  RankBlocks(device, problem.Params(out), workspace);
  return out;
}

void ExpectFormula(const Problem& problem, Device& device) {
  const std::vector<float> out = RanksOf(problem, device);
  const std::vector<double> expected = problem.Expected();
  for (std::size_t b = 0; b < out.size(); ++b) {
    ASSERT_NEAR(out[b], expected[b], 1e-5 * expected[b] + 1e-35)
        << "block " << b << " of [" << problem.first << ", " << problem.end << "), "
        << problem.shape.coarse_dims << " dimensions, " << problem.shape.n_probes << " probes";
  }
}

class RankBlocksTest : public testing::TestWithParam<CpuLevel> {
 protected:
  Device device_{2, GetParam()};
};

TEST_P(RankBlocksTest, EqualsTheFormulaForAnyNumberOfBlocks) {
  for (const std::int32_t first : {0, 1, 7}) {
    for (const std::int32_t n : {1, 3, 15, 16, 17, 255, 256, 257, 600}) {
      ExpectFormula(Problem({}, first, n), device_);
    }
  }
}

TEST_P(RankBlocksTest, EqualsTheFormulaForAnyShape) {
  for (const std::int32_t n_groups : {1, 3, 4}) {
    for (const std::int32_t heads : {1, 3, 7}) {
      for (const std::int32_t coarse_dims : {8, 16, 24, 32}) {
        for (const std::int32_t n_probes : {1, 5}) {
          ExpectFormula(Problem({n_groups, heads, 36, coarse_dims, n_probes}, 2, 40), device_);
        }
      }
    }
  }
}

TEST_P(RankBlocksTest, AnyNumberOfThreadsGivesTheSameBits) {
  const Problem problem({.n_probes = 2}, 3, 2000);
  Device one(1, GetParam());
  const std::vector<float> expected = RanksOf(problem, one);
  for (const int n_threads : {2, 3}) {
    Device device(n_threads, GetParam());
    EXPECT_EQ(RanksOf(problem, device), expected) << n_threads;
  }
}

TEST_P(RankBlocksTest, NoBlocksAreNoWork) {
  Problem problem({}, 0, 4);
  problem.end = problem.first;
  EXPECT_THAT(RanksOf(problem, device_), testing::IsEmpty());
}

TEST_P(RankBlocksTest, RefusesWrongArguments) {
  const Problem problem({}, 0, 8);
  const auto expect_refusal = [&](auto change) {
    std::vector<float> out;
    RankBlocksParams params = problem.Params(out);
    change(params);
    RankWorkspace workspace;
    EXPECT_THROW(RankBlocks(device_, params, workspace), std::logic_error);
  };
  expect_refusal([](RankBlocksParams& p) { p.end = 9; });
  expect_refusal([](RankBlocksParams& p) { p.first = -1; });
  expect_refusal([](RankBlocksParams& p) { p.slot = 2; });
  const Problem uncopied({.coarse_dims = 0}, 0, 8);
  expect_refusal([&](RankBlocksParams& p) { p.store = uncopied.digests.store.get(); });
  expect_refusal([](RankBlocksParams& p) { p.n_probes = 0; });
  expect_refusal([](RankBlocksParams& p) { p.n_heads = 4; });
  expect_refusal([](RankBlocksParams& p) { p.out = nullptr; });
}

INSTANTIATE_TEST_SUITE_P(Levels,
                         RankBlocksTest,
                         testing::ValuesIn(AvailableLevels()),
                         LevelTestName);

}  // namespace
}  // namespace keyhole
