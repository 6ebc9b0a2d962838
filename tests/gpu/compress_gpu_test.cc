#include <cmath>
#include <cstdlib>
#include <random>
#include <tuple>

#include "engine/ops/cuda/compress_queries.h"
#include "engine/ops/probe_span.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

// A layer's map and the rotation to one distance, with copies on the device.
struct Case {
  std::int32_t n_heads;
  std::int32_t n_kv_heads;
  std::int32_t head_dim;
  std::int32_t rank;
  bool concatenated;  // the heads of a KV head are added up, one query of all of them
  std::vector<float> map = {};
  std::vector<float> cos = {};
  std::vector<float> sin = {};

  std::int32_t n_groups() const { return concatenated ? 1 : n_kv_heads; }
  std::int32_t n_queries() const { return concatenated ? 1 : n_heads; }
  std::int32_t in_dim() const { return concatenated ? n_kv_heads * head_dim : head_dim; }
};

class CompressGpuTest : public GpuTest {
 protected:
  Case Make(
      std::int32_t heads, std::int32_t kv_heads, std::int32_t dim, std::int32_t rank, bool c) {
    Case made = {heads, kv_heads, dim, rank, c};
    made.map = RandomFloats(random_, std::size_t(made.n_groups()) * rank * made.in_dim());
    for (std::int32_t i = 0; i < dim / 2; ++i) {
      const double angle = 300 * std::pow(1e4, -2.0 * i / dim);
      made.cos.push_back(static_cast<float>(std::cos(angle)));
      made.sin.push_back(static_cast<float>(std::sin(angle)));
    }
    return made;
  }

  cuda::QueryMap OnDevice(const Case& c) {
    return {.map = ToDevice(c.map),
            .n_groups = c.n_groups(),
            .rank = c.rank,
            .in_dim = c.in_dim(),
            .n_queries = c.n_queries(),
            .n_heads = c.n_heads,
            .head_dim = c.head_dim,
            .distance = {ToDevice(c.cos), ToDevice(c.sin), 1.25F},
            .softmax_scale = 0.5F};
  }

  // One query of a probe in f64: [rank].
  static std::vector<double> Reference(const Case& c,
                                       const std::vector<float>& queries,
                                       RowRange span,
                                       std::int32_t query) {
    const std::int32_t d = c.head_dim;
    const std::int32_t group = c.concatenated ? c.n_heads / c.n_kv_heads : 1;
    std::vector<double> values(c.in_dim(), 0.0);
    for (std::int32_t part = 0; part < c.in_dim() / d; ++part) {
      std::vector<double> mean(d, 0.0);
      for (std::int32_t h = 0; h < group; ++h) {
        const std::int32_t head = (query * (c.in_dim() / d) + part) * group + h;
        for (std::int32_t row = span.begin; row < span.end; ++row) {
          for (std::int32_t i = 0; i < d; ++i) {
            mean[i] += double{queries[(row * c.n_heads + head) * d + i]} / span.size();
          }
        }
      }
      for (std::int32_t i = 0; i < d / 2; ++i) {
        values[part * d + i] = mean[i] * c.cos[i] - mean[d / 2 + i] * c.sin[i];
        values[part * d + d / 2 + i] = mean[d / 2 + i] * c.cos[i] + mean[i] * c.sin[i];
      }
    }
    const std::int32_t map_group = query / (c.n_queries() / c.n_groups());
    std::vector<double> compressed(c.rank, 0.0);
    for (std::int32_t r = 0; r < c.rank; ++r) {
      const float* row = c.map.data() + (std::size_t(map_group) * c.rank + r) * c.in_dim();
      for (std::int32_t i = 0; i < c.in_dim(); ++i) compressed[r] += row[i] * values[i];
    }
    return compressed;
  }

  std::mt19937 random_{23};
};

TEST_F(CompressGpuTest, EqualsTheFormula) {
  for (const auto& [heads, kv_heads, dim, rank, concatenated] : {std::tuple{8, 2, 64, 32, false},
                                                                 {8, 2, 64, 96, true},
                                                                 {3, 3, 32, 5, false},
                                                                 {6, 3, 128, 200, true},
                                                                 {4, 1, 2, 4, true}}) {
    const Case c = Make(heads, kv_heads, dim, rank, concatenated);
    const cuda::QueryMap map = OnDevice(c);
    for (const auto& [q_len, probes] : {std::pair{1, 8}, {7, 0}, {33, 8}, {64, 1}}) {
      const std::vector<float> queries = RandomFloats(random_, std::size_t(q_len) * heads * dim);
      const std::int32_t span = ProbeSpan(q_len, probes, 1);
      const std::int32_t n = ProbeCount(q_len, span) * c.n_queries();
      const cuda::CompressQueriesParams params = {.queries = ToDevice(queries),
                                                  .q_len = q_len,
                                                  .span = span,
                                                  .codes = Take<std::int8_t>(n * rank),
                                                  .scales = Take<float>(n)};
      cuda::CompressQueries(map, {&params, 1}, workspace());
      const std::vector<std::int8_t> codes = FromDevice(params.codes, n * rank);
      const std::vector<float> scales = FromDevice(params.scales, n);
      for (std::int32_t i = 0; i < n; ++i) {
        const std::int32_t begin = i / c.n_queries() * span;
        const std::vector<double> expected =
            Reference(c, queries, {begin, std::min(begin + span, q_len)}, i % c.n_queries());
        double top = 0;
        for (const double x : expected) top = std::max(top, std::fabs(x));
        ASSERT_NEAR(scales[i], 0.5 * 1.25 * top / 127, 1e-5 * top);
        for (std::int32_t r = 0; r < rank; ++r) {
          ASSERT_NEAR(codes[i * rank + r], expected[r] * 127 / top, 0.51) << "query " << i;
        }
      }
    }
  }
}

TEST_F(CompressGpuTest, ASequenceGetsTheSameBitsInAnyCompany) {
  const Case c = Make(4, 2, 32, 16, false);
  const cuda::QueryMap map = OnDevice(c);
  std::vector<cuda::CompressQueriesParams> sequences;
  for (const std::int32_t q_len : {5, 0, 40}) {
    const std::int32_t span = ProbeSpan(q_len, 4, 8);
    const std::int32_t n = ProbeCount(q_len, span) * 4;
    sequences.push_back({.queries = ToDevice(RandomFloats(random_, std::size_t(q_len) * 4 * 32)),
                         .q_len = q_len,
                         .span = span,
                         .codes = Take<std::int8_t>(n * 16),
                         .scales = Take<float>(n)});
  }
  cuda::CompressQueries(map, sequences, workspace());
  for (const cuda::CompressQueriesParams& together : sequences) {
    const std::int32_t n = ProbeCount(together.q_len, together.span) * 4;
    cuda::CompressQueriesParams alone = together;
    alone.codes = Take<std::int8_t>(n * 16);
    alone.scales = Take<float>(n);
    cuda::CompressQueries(map, {&alone, 1}, workspace());
    EXPECT_EQ(FromDevice(alone.codes, n * 16), FromDevice(together.codes, n * 16));
    EXPECT_EQ(FromDevice(alone.scales, n), FromDevice(together.scales, n));
  }
}

TEST_F(CompressGpuTest, QueriesOfZerosHaveNoScale) {
  const Case c = Make(2, 2, 32, 8, false);
  const cuda::CompressQueriesParams params = {.queries = ToDevice(std::vector<float>(64, 0.0F)),
                                              .q_len = 1,
                                              .codes = Take<std::int8_t>(16),
                                              .scales = Take<float>(2)};
  cuda::CompressQueries(OnDevice(c), {&params, 1}, workspace());
  EXPECT_EQ(FromDevice(params.codes, 16), std::vector<std::int8_t>(16, 0));
  EXPECT_EQ(FromDevice(params.scales, 2), std::vector<float>(2, 0.0F));
}

TEST_F(CompressGpuTest, SizesThatDoNotFitAreRefused) {
  const Case c = Make(4, 2, 32, 8, false);
  const cuda::CompressQueriesParams params = {.q_len = 0};
  const auto refused = [&](const cuda::QueryMap& map) {
    EXPECT_THROW(cuda::CompressQueries(map, {&params, 1}, workspace()), std::logic_error);
  };
  cuda::QueryMap map = OnDevice(c);
  cuda::CompressQueries(map, {&params, 1}, workspace());
  map.rank = 513;
  refused(map);
  map = OnDevice(c);
  map.n_heads = 6;
  refused(map);
  map = OnDevice(c);
  map.in_dim = 48;
  refused(map);
  map = OnDevice(c);
  map.distance = {};
  refused(map);
}

}  // namespace
}  // namespace keyhole
