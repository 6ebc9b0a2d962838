#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "engine/ops/cuda/max_pool.h"
#include "engine/ops/cuda/score_rows.h"
#include "engine/ops/cuda/top_k.h"
#include "engine/ops/max_pool.h"
#include "engine/ops/score_rows.h"
#include "engine/ops/top_k.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_selection/digest_fixture.h"

namespace keyhole {
namespace {

constexpr std::int32_t kPage = 64;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Shape {
  std::int32_t n_groups;
  std::int32_t heads_of_group;
  std::int32_t rank;
  std::int32_t n_probes;
};

constexpr Shape kShapes[] = {
    {1, 1, 64, 3}, {3, 3, 32, 1}, {2, 4, 20, 5}, {8, 4, 16, 1}, {1, 8, 4, 2}, {2, 5, 96, 9}};

constexpr RowRange kRanges[] = {{0, 0},
                                {0, 1},
                                {7, kPage - 1},
                                {0, kPage},
                                {1, kPage + 1},
                                {kPage, kPage + 16},
                                {128, 5000},
                                {13, 1551}};

class SelectGpuTest : public GpuTest {
 protected:
  struct Problem {
    std::unique_ptr<DigestSequence> digests;
    std::vector<std::int8_t> queries;
    std::vector<float> scales;
    ScoreRowsParams params;
    cuda::ScoreRowsParams on_device;
  };

  Problem MakeProblem(const Shape& shape, RowRange rows) {
    const DigestLayout layout = {
        .n_slots = 2, .n_groups = shape.n_groups, .rank = shape.rank, .page_size = kPage};
    Problem p;
    p.digests = std::make_unique<DigestSequence>(layout, rows.end, random_());
    const std::int32_t n_heads = shape.n_groups * shape.heads_of_group;
    std::uniform_int_distribution<int> code(-127, 127);
    p.queries.resize(std::size_t(shape.n_probes) * n_heads * shape.rank);
    for (std::int8_t& x : p.queries) x = static_cast<std::int8_t>(code(random_));
    const double product = 74.0 * 74.0 * std::sqrt(shape.rank);
    std::uniform_real_distribution<double> deviation(0.5, 4);
    p.scales.resize(shape.n_probes * n_heads);
    for (float& x : p.scales) x = static_cast<float>(deviation(random_) / product);
    p.scales.back() = 0;  // a query without a direction
    p.params = {.store = p.digests->store.get(),
                .slot = 1,
                .pages = p.digests->pages,
                .rows = rows,
                .n_probes = shape.n_probes,
                .n_heads = n_heads,
                .queries = p.queries.data(),
                .scales = p.scales.data()};
    const std::size_t bytes = layout.page_bytes() * p.digests->store->n_pages();
    p.on_device = {.store = {ToDevice(p.digests->store->Slot(0, 0), bytes), layout},
                   .pages = Pages(p.digests->pages),
                   .rows = rows,
                   .n_probes = shape.n_probes,
                   .queries = ToDevice(p.queries),
                   .scales = ToDevice(p.scales),
                   .out = Take<float>(std::max(rows.size(), 0))};
    return p;
  }

  std::vector<float> Expected(Problem& p, ScoreRule rule) {
    std::vector<float> out(std::max(p.params.rows.size(), 0));
    p.params.rule = rule;
    p.params.out = out.data();
    Device device(1);
    ScoreWorkspace scratch;
    ScoreRows(device, {&p.params, 1}, scratch);
    return out;
  }

  std::vector<std::int32_t> DeviceTopK(const std::vector<float>& scores,
                                       std::int32_t k,
                                       std::int32_t first) {
    const auto n = static_cast<std::int32_t>(scores.size());
    const std::int32_t count = cuda::TopKCountOf(n, k);
    const cuda::TopKParams params = {.scores = ToDevice(scores),
                                     .n = n,
                                     .k = k,
                                     .first = first,
                                     .rows = Take<std::int32_t>(count)};
    cuda::TopK({&params, 1}, workspace());
    return FromDevice(params.rows, count);
  }

  void ExpectTopK(const std::vector<float>& scores, std::int32_t k) {
    Device device(1);
    TopKWorkspace scratch;
    std::vector<std::int32_t> expected;
    TopK(device, scores, k, 100, scratch, expected);
    EXPECT_EQ(DeviceTopK(scores, k, 100), expected) << scores.size() << " scores, k " << k;
  }

  std::mt19937 random_{11};
};

TEST_F(SelectGpuTest, ScoresEqualThoseOfTheCpu) {
  for (const Shape& shape : kShapes) {
    for (const RowRange rows : kRanges) {
      Problem p = MakeProblem(shape, rows);
      const auto run = [&](cuda::ScoreRule rule) {
        const cuda::ScoreSettings settings = {.slot = 1, .rule = rule, .n_heads = p.params.n_heads};
        cuda::ScoreRows(settings, {&p.on_device, 1}, workspace());
        return FromDevice(p.on_device.out, std::max(rows.size(), 0));
      };
      SCOPED_TRACE(testing::Message() << shape.n_groups << " groups, rank " << shape.rank
                                      << ", rows " << rows.begin << " to " << rows.end);
      EXPECT_EQ(run(cuda::ScoreRule::kShift), Expected(p, ScoreRule::kShift));
      const std::vector<float> votes = run(cuda::ScoreRule::kVote);
      const std::vector<float> expected = Expected(p, ScoreRule::kVote);
      for (std::size_t j = 0; j < votes.size(); ++j) {
        ASSERT_NEAR(votes[j], expected[j], 1e-5 * expected[j] + 1e-30) << "row " << j;
      }
    }
  }
}

TEST_F(SelectGpuTest, ScoresOfABatchAreThoseOfEachAlone) {
  std::vector<Problem> problems;
  for (const RowRange rows : kRanges) problems.push_back(MakeProblem(kShapes[3], rows));
  for (const cuda::ScoreRule rule : {cuda::ScoreRule::kVote, cuda::ScoreRule::kShift}) {
    const cuda::ScoreSettings settings = {.slot = 0, .rule = rule, .n_heads = 32};
    std::vector<std::vector<float>> alone;
    std::vector<cuda::ScoreRowsParams> batch;
    for (const Problem& p : problems) {
      cuda::ScoreRows(settings, {&p.on_device, 1}, workspace());
      alone.push_back(FromDevice(p.on_device.out, p.on_device.rows.size()));
      batch.push_back(p.on_device);
      batch.back().out = Take<float>(p.on_device.rows.size());
    }
    cuda::ScoreRows(settings, batch, workspace());
    for (std::size_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(FromDevice(batch[i].out, batch[i].rows.size()), alone[i]);
    }
  }
}

TEST_F(SelectGpuTest, CandidatesOutsideThePageTableAreRefused) {
  Problem p = MakeProblem(kShapes[0], {0, kPage});
  p.on_device.rows.end = kPage + 1;
  EXPECT_THROW(cuda::ScoreRows({.slot = 1, .n_heads = 1}, {&p.on_device, 1}, workspace()),
               std::logic_error);
}

TEST_F(SelectGpuTest, PoolEqualsThatOfTheCpu) {
  Device device(1);
  for (const std::int32_t n : {0, 1, 2, 63, 64, 65, 1000}) {
    std::vector<float> in(n);
    std::normal_distribution<float> normal;
    for (float& x : in) x = normal(random_);
    for (const std::int32_t eps : {0, 1, 3, 8, 100}) {
      std::vector<float> expected(n);
      MaxPool(device, in, eps, expected);
      const cuda::MaxPoolSequence sequence = {.in = ToDevice(in), .out = Take<float>(n), .n = n};
      cuda::MaxPool(eps, {&sequence, 1}, workspace());
      EXPECT_EQ(FromDevice(sequence.out, n), expected) << "n " << n << ", eps " << eps;
    }
  }
}

TEST_F(SelectGpuTest, TopKEqualsThatOfTheCpu) {
  for (const std::int32_t n : {0, 1, 2, 63, 64, 65, 4095, 4096, 4097, 20000}) {
    std::normal_distribution<float> normal;
    std::vector<float> distinct(n);
    std::vector<float> tied(n);
    for (float& x : distinct) x = normal(random_);
    for (float& x : tied) x = static_cast<float>(random_() % 3) - 1;
    for (const std::int32_t k : {0, 1, 2, n / 2, n - 1, n, n + 1, 512}) {
      if (k < 0) continue;
      ExpectTopK(distinct, k);
      ExpectTopK(tied, k);
    }
  }
}

TEST_F(SelectGpuTest, TopKOrdersZerosInfinitiesAndTinyDifferences) {
  std::vector<float> scores = {0.0F, -0.0F, 0.0F, -kInfinity, kInfinity, -0.0F, -kInfinity};
  scores.resize(300, -kInfinity);
  for (std::int32_t k = 1; k <= 8; ++k) ExpectTopK(scores, k);
  std::vector<float> close(5000);
  for (std::size_t i = 0; i < close.size(); ++i) {
    close[i] = std::bit_cast<float>(0x3F800000U + static_cast<std::uint32_t>(i * 7919 % 5000));
  }
  for (const std::int32_t k : {1, 1000, 2048, 4999}) ExpectTopK(close, k);
  for (float& x : close) x = -x;
  ExpectTopK(close, 2048);
}

// Around the borders of a thread's scores, a block's, and of what one block goes through at once.
constexpr std::int32_t kTopKSizes[] = {
    1, 15, 16, 17, 33, 4095, 4096, 4097, 8192, 8193, 16383, 16384, 16385, 40000};

TEST_F(SelectGpuTest, TopKOfEqualScoresAreTheFirst) {
  for (const std::int32_t n : kTopKSizes) {
    const std::vector<float> scores(n, 0.25F);
    for (const std::int32_t k : {1, 16, 17, n / 2, n - 1, n}) ExpectTopK(scores, std::min(k, n));
  }
}

TEST_F(SelectGpuTest, TopKOfLongRunsOfEqualScores) {
  for (const std::int32_t n : kTopKSizes) {
    for (const std::int32_t longest : {1, 17, 700}) {
      std::vector<float> scores;
      while (std::ssize(scores) < n) {
        const auto length = static_cast<std::int32_t>(1 + random_() % longest);
        const float score = static_cast<float>(random_() % 1000) / 100 - 5;
        scores.insert(scores.end(), length, score);
      }
      scores.resize(n);
      for (const std::int32_t k : {1, n / 3, n - 1, 512}) ExpectTopK(scores, k);
    }
  }
}

// So many share the first digit, or the first two, that no block goes through them at once.
TEST_F(SelectGpuTest, TopKOfScoresThatAreClose) {
  for (const unsigned step : {1U, 1U << 6, 1U << 12}) {
    std::vector<float> scores(30000);
    for (float& x : scores) {
      x = std::bit_cast<float>(0x3F800000U + static_cast<std::uint32_t>(random_() % 500) * step);
    }
    for (const std::int32_t k : {1, 600, 9000, 29999, 30000}) ExpectTopK(scores, k);
  }
}

// Each has few blocks, which go through several segments.
TEST_F(SelectGpuTest, TopKOfManySequencesIsThatOfEachAlone) {
  constexpr std::int32_t kSequences = 70;
  std::vector<cuda::TopKParams> batch;
  std::vector<std::vector<std::int32_t>> alone;
  for (std::int32_t i = 0; i < kSequences; ++i) {
    const std::int32_t n = i % 30 == 0 ? 30000 + i : i;
    std::vector<float> scores(n);
    for (float& x : scores) x = 1 + static_cast<float>(random_() % 3000) * 0x1p-16F;
    const std::int32_t k = n / 2;
    alone.push_back(DeviceTopK(scores, k, i));
    batch.push_back(
        {.scores = ToDevice(scores), .n = n, .k = k, .first = i, .rows = Take<std::int32_t>(k)});
  }
  cuda::TopK(batch, workspace());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(FromDevice(batch[i].rows, batch[i].k), alone[i]) << "sequence " << i;
  }
}

TEST_F(SelectGpuTest, TopKMayBeLaunchedAgainAsItWasPlanned) {
  std::vector<cuda::TopKParams> batch;
  std::vector<std::vector<float>> scores;
  for (const std::int32_t n : {300, 20000, 0, 40000}) {
    std::vector<float>& mine = scores.emplace_back(n);
    const float least = n == 40000 ? 1 : 0;  // then all share the first digit
    for (float& x : mine) x = least + static_cast<float>(random_() % 100) / 800;
    const std::int32_t k = n == 300 ? 0 : n / 20;
    batch.push_back({.scores = Take<float>(n), .n = n, .k = k, .rows = Take<std::int32_t>(k)});
  }
  cuda::Workspace plan(stream());
  const cuda::TopKArgs args = cuda::PlanTopK(batch, plan);
  Device device(1);
  TopKWorkspace scratch;
  for (int launch = 0; launch < 3; ++launch) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::shuffle(scores[i].begin(), scores[i].end(), random_);
      const std::size_t bytes = scores[i].size() * sizeof(float);
      ASSERT_TRUE(
          CopyAsync(stream(), const_cast<float*>(batch[i].scores), scores[i].data(), bytes).ok());
    }
    cuda::CheckLaunch(cuda::LaunchTopK(args, stream().handle()), "TopK");
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::vector<std::int32_t> expected;
      TopK(device, scores[i], batch[i].k, 0, scratch, expected);
      EXPECT_EQ(FromDevice(batch[i].rows, batch[i].k), expected) << "launch " << launch;
    }
  }
}

TEST_F(SelectGpuTest, TopKOfScoresThatAreNotAlignedIsRefused) {
  const cuda::TopKParams params = {
      .scores = Take<float>(8) + 1, .n = 4, .k = 1, .rows = Take<std::int32_t>(1)};
  EXPECT_THROW(cuda::TopK({&params, 1}, workspace()), std::logic_error);
}

TEST_F(SelectGpuTest, TopKOfAMillion) {
  std::vector<float> scores(1 << 20);
  for (float& x : scores) x = static_cast<float>(random_() >> 12) * 0x1p-20F;  // with ties
  ExpectTopK(scores, 2048);
}

TEST_F(SelectGpuTest, TopKOfABatchIsThatOfEachAlone) {
  std::vector<cuda::TopKParams> batch;
  std::vector<std::vector<std::int32_t>> alone;
  for (const std::int32_t n : {0, 10, 9000, 400}) {
    std::vector<float> scores(n);
    for (float& x : scores) x = static_cast<float>(random_() % 50);
    const std::int32_t k = n / 3 + 1;
    alone.push_back(DeviceTopK(scores, k, n));
    batch.push_back({.scores = ToDevice(scores),
                     .n = n,
                     .k = k,
                     .first = n,
                     .rows = Take<std::int32_t>(cuda::TopKCountOf(n, k))});
  }
  cuda::TopK(batch, workspace());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    EXPECT_EQ(FromDevice(batch[i].rows, alone[i].size()), alone[i]);
  }
}

}  // namespace
}  // namespace keyhole
