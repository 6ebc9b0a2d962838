#include "engine/ops/attend_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

struct Shape {
  std::int32_t n_kv_heads;
  std::int32_t group;
  std::int32_t head_dim;
};

constexpr Shape kShapes[] = {{3, 3, 64},
                             {2, 1, 8},
                             {1, 4, 128},
                             {2, 8, 40},
                             {1, 5, 256},
                             {2, 12, 24},
                             {7, 4, 64},
                             {1, 18, 64}};

KvLayout LayoutOf(const Shape& shape, KvType type, std::int32_t page_size = 16) {
  return {.n_layers = 1,
          .n_kv_heads = shape.n_kv_heads,
          .head_dim = shape.head_dim,
          .page_size = page_size,
          .type = type};
}

// Queries, output and one causal part over the whole sequence, q_len queries at its end.
struct CausalCase {
  CausalCase(const Shape& shape, KvType type, std::int32_t past, std::int32_t q_len, unsigned seed)
      : kv(LayoutOf(shape, type), past + q_len, seed) {
    std::mt19937 random(seed + 1);
    const std::int32_t n_heads = shape.n_kv_heads * shape.group;
    const std::size_t n = static_cast<std::size_t>(q_len) * n_heads * shape.head_dim;
    queries = RandomFloats(random, n, 2);
    out.assign(n, std::numeric_limits<float>::quiet_NaN());
    parts = {{.queries = queries.data(), .range = {0, past + q_len}, .causal_from = past}};
    params = {.store = kv.store.get(),
              .layer = 0,
              .pages = kv.pages,
              .q_len = q_len,
              .n_heads = n_heads,
              .softmax_scale = 1 / std::sqrt(static_cast<float>(shape.head_dim)),
              .parts = parts,
              .out = out.data()};
  }

  KvSequence kv;
  std::vector<float> queries;
  std::vector<float> out;
  std::vector<AttendPart> parts;
  AttendParams params;
};

void RunOne(Device& device, const AttendParams& params) {
  AttendWorkspace workspace;
  AttendRows(device, {&params, 1}, workspace);
}

class AttendRowsTest : public testing::TestWithParam<std::tuple<CpuLevel, KvType>> {
 protected:
  CpuLevel level() const { return std::get<0>(GetParam()); }
  KvType type() const { return std::get<1>(GetParam()); }
  // Of absolute errors of values near 1.
  double Tolerance(std::int32_t q_len) const {
    if (!Rounds(q_len)) return 2e-5;
    if (level() == CpuLevel::kAvx2) return 1.2e-1;  // scores by seven bits
    return q_len > 1 ? 1e-1 : 3e-2;
  }
  bool Rounds(std::int32_t q_len) const {
    if (level() == CpuLevel::kAvx2) return q_len > 1 && type() != KvType::kF32;
    if (level() < CpuLevel::kAvx512Bf16) return false;
    if (type() == KvType::kInt8) return q_len > 1 || level() >= CpuLevel::kAmx;
    return type() == KvType::kBF16;
  }
  // Of one heavy row, the newest, and a tail whose rows weigh 2^-bits of it each.
  double HeavyRowError(std::int32_t n_rows, std::int32_t q_len, float bits) {
    CausalCase c({1, 1, 64}, type(), n_rows - q_len, q_len, 3);
    c.parts[0].causal_from = -1;
    std::fill(c.queries.begin(), c.queries.end(), 0.0F);
    for (std::size_t i = 0; i < c.queries.size(); i += 64) c.queries[i] = bits * std::log(2.0F);
    std::fill(c.kv.k.begin(), c.kv.k.end(), 0.0F);
    std::fill(c.kv.v.begin(), c.kv.v.end(), 1.0F);
    c.kv.k[c.kv.k.size() - 64] = 8;  // times the softmax's scale: 1
    std::fill(c.kv.v.end() - 64, c.kv.v.end(), -1.0F);
    c.kv.Append();
    RunOne(device_, c.params);
    return LargestError(c.params, c.kv);
  }

  Device device_{2, level()};
};

TEST_P(AttendRowsTest, DecodeEqualsTheFormulas) {
  for (const Shape& shape : kShapes) {
    for (const std::int32_t past : {0, 1, 14, 15, 16, 62, 63, 64, 65, 255, 256, 300, 1000}) {
      CausalCase c(shape, type(), past, 1, past);
      RunOne(device_, c.params);
      EXPECT_LT(LargestError(c.params, c.kv), Tolerance(1)) << shape.head_dim << " after " << past;
    }
  }
}

TEST_P(AttendRowsTest, PrefillEqualsTheFormulas) {
  for (const Shape& shape : kShapes) {
    for (const auto& [past, q_len] : {std::pair{0, 2}, {0, 33}, {15, 17}, {64, 40}, {3, 130}}) {
      CausalCase c(shape, type(), past, q_len, past + q_len);
      RunOne(device_, c.params);
      EXPECT_LT(LargestError(c.params, c.kv), Tolerance(q_len))
          << shape.head_dim << " " << past << "+" << q_len;
    }
  }
}

TEST_P(AttendRowsTest, LongShortChunkIsSplit) {
  CausalCase c({1, 3, 32}, type(), 4500, 5, 1);
  RunOne(device_, c.params);
  EXPECT_LT(LargestError(c.params, c.kv), Tolerance(5));
}

TEST_P(AttendRowsTest, SeveralPartsAreOneSoftmax) {
  for (const std::int32_t q_len : {1, 3, 48}) {
    CausalCase c({2, 3, 64}, type(), 700, q_len, q_len);
    std::mt19937 random(9);
    const std::vector<float> far_queries = RandomFloats(random, c.queries.size(), 2);
    const std::vector<float> near_queries = RandomFloats(random, c.queries.size(), 2);
    const std::vector<float> bias = RandomFloats(random, q_len, 2);
    std::vector<std::int32_t> rows;
    for (std::int32_t row = 33; row < 500; row += 1 + row % 3) rows.push_back(row);
    c.parts = {{.queries = far_queries.data(), .range = {0, 32}, .scale = 1.5F},
               {.queries = near_queries.data(), .rows = rows, .bias = bias.data()},
               {.queries = c.queries.data(), .range = {40, 40}},
               {.queries = c.queries.data(), .range = {500, 700 + q_len}, .causal_from = 700}};
    c.params.parts = c.parts;
    RunOne(device_, c.params);
    EXPECT_LT(LargestError(c.params, c.kv), Tolerance(q_len)) << q_len;
  }
}

TEST_P(AttendRowsTest, LargeScoresDoNotOverflow) {
  for (const std::int32_t q_len : {1, 20}) {
    CausalCase c({1, 2, 64}, type(), 300, q_len, 5);
    for (float& x : c.queries) x *= 400;
    RunOne(device_, c.params);
    for (const float x : c.out) ASSERT_TRUE(std::isfinite(x)) << q_len;
    if (Rounds(q_len)) continue;  // scores of 1e4 are off by 20: other rows win
    EXPECT_LT(LargestError(c.params, c.kv), 2e-2) << q_len;  // scores of 1e4 in f32
  }
}

// The sums of products are as large as they can be.
TEST_P(AttendRowsTest, NumbersOfOneSizeAreExact) {
  for (const std::int32_t q_len : {1, 20}) {
    for (const float sign : {-1.0F, 1.0F}) {
      CausalCase c({1, 2, 64}, type(), 300, q_len, 5);
      for (float& x : c.queries) x = 0.05F;
      for (std::size_t i = 0; i < c.kv.k.size(); ++i) {
        const std::size_t row = i / 64;
        c.kv.k[i] = row % 3 == 0 ? sign : -sign;
        c.kv.v[i] = row / 8 % 3 == 0 ? sign : -sign;
      }
      c.kv.Append();
      RunOne(device_, c.params);
      EXPECT_LT(LargestError(c.params, c.kv), Rounds(q_len) ? 1e-2 : 2e-5) << q_len << " " << sign;
    }
  }
}

TEST_P(AttendRowsTest, ValuesOfRowsMayDifferInSize) {
  for (const std::int32_t q_len : {1, 20}) {
    CausalCase c({1, 2, 64}, type(), 300, q_len, 8);
    std::mt19937 random(2);
    for (std::size_t row = 0; row < c.kv.v.size() / 64; ++row) {
      const float size = std::pow(10.0F, -static_cast<float>(random() % 12));
      for (std::size_t i = 64 * row; i < 64 * (row + 1); ++i) {
        c.kv.v[i] *= size;
        c.kv.k[i] *= size < 1e-9 ? 0.0F : 1;
      }
    }
    c.kv.Append();
    RunOne(device_, c.params);
    EXPECT_LT(LargestError(c.params, c.kv), Tolerance(q_len)) << q_len;
  }
}

// Kernels may leave out rows that weigh next to nothing, whatever lies between those that count.
TEST_P(AttendRowsTest, FewRowsAmongManyAreFound) {
  for (const std::int32_t q_len : {1, 20, 70}) {
    CausalCase c({2, 3, 64}, type(), 2000, q_len, 4);
    for (std::size_t i = 0; i < c.queries.size(); ++i) c.queries[i] = i % 64 == 0 ? 100.0F : 0;
    const std::int32_t kv_size = 2 * 64;
    for (std::int32_t row = 0; row < c.kv.n_rows; ++row) {
      const bool counts = row % 389 == 5 || row % 641 == 130;
      for (std::int32_t i = 0; i < kv_size; i += 64) {
        c.kv.k[row * kv_size + i] = counts ? 1.0F + static_cast<float>(row % 2) / 16 : -1;
        for (std::int32_t d = 1; d < 64; ++d) c.kv.k[row * kv_size + i + d] = 0;
      }
    }
    c.kv.Append();
    RunOne(device_, c.params);
    EXPECT_LT(LargestError(c.params, c.kv), Rounds(q_len) ? 3e-2 : 2e-5) << q_len;
  }
}

// None of very many rows that weigh the same is negligible.
TEST_P(AttendRowsTest, ManyEqualRowsAreAllAttendedTo) {
  CausalCase c({1, 2, 8}, type(), 20000, 34, 6);
  std::fill(c.queries.begin(), c.queries.end(), 0.0F);
  for (std::size_t i = 0; i < c.kv.v.size(); ++i) c.kv.v[i] = i < c.kv.v.size() / 4 ? 4.0F : 0.0F;
  c.kv.Append();
  RunOne(device_, c.params);
  EXPECT_LT(LargestError(c.params, c.kv), 1e-2);
}

TEST_P(AttendRowsTest, ALongTailBesideAHeavyRowCounts) {
  for (const std::int32_t q_len : {1, 10, 64}) {
    for (const float bits : {9.0F, 11.0F, 12.5F, 13.2F, 14.0F, 16.0F}) {
      EXPECT_LT(HeavyRowError(4097, q_len, bits), Rounds(q_len) ? 2e-2 : 1e-4)
          << q_len << ", 2^-" << bits;
    }
  }
}

TEST_P(AttendRowsTest, LightRowsOfATileCount) {
  for (const std::int32_t q_len : {1, 20}) {
    for (const float bits : {4.0F, 7.0F, 8.5F, 9.2F, 10.0F, 11.0F}) {
      EXPECT_LT(HeavyRowError(128, q_len, bits), Rounds(q_len) ? 3e-2 : 2e-5)
          << q_len << ", 2^-" << bits;
    }
  }
}

TEST_P(AttendRowsTest, AKeyThatIsNoNumberIsNotHidden) {
  for (const std::int32_t q_len : {1, 20}) {
    CausalCase c({1, 2, 64}, type(), 300, q_len, 5);
    c.kv.k[64 * 77 + 5] = std::numeric_limits<float>::quiet_NaN();
    c.kv.Append();
    RunOne(device_, c.params);
    for (const float x : c.out) ASSERT_FALSE(std::isfinite(x)) << q_len;
  }
}

TEST_P(AttendRowsTest, AQueryThatIsNoNumberIsNotHiddenAndHarmsNoOther) {
  for (const std::int32_t q_len : {1, 20}) {
    for (const std::int32_t past : {40, 5000}) {
      CausalCase c({1, 2, 64}, type(), past, q_len, 5);
      const std::size_t poisoned = c.queries.size() / 64 - 1;
      c.queries[64 * poisoned + 5] = std::numeric_limits<float>::quiet_NaN();
      RunOne(device_, c.params);
      for (std::size_t i = 0; i < c.out.size(); ++i) {
        ASSERT_EQ(std::isfinite(c.out[i]), i / 64 != poisoned) << q_len << " after " << past;
      }
    }
  }
}

TEST_P(AttendRowsTest, WhatIsNoNumberIsNotHidden) {
  for (const std::int32_t q_len : {1, 20}) {
    for (const float x :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      CausalCase c({1, 2, 64}, type(), 300, q_len, 5);
      c.kv.v[64 * 77 + 5] = x;
      c.kv.Append();
      RunOne(device_, c.params);
      for (std::size_t i = 5; i < c.out.size(); i += 64) EXPECT_FALSE(std::isfinite(c.out[i]));
    }
  }
}

TEST_P(AttendRowsTest, QueryThatSeesNothingGetsZeros) {
  for (const std::int32_t q_len : {1, 4}) {
    CausalCase c({2, 2, 16}, type(), 0, q_len, 3);
    c.parts[0].range = {1, q_len};
    RunOne(device_, c.params);
    EXPECT_LT(LargestError(c.params, c.kv), Tolerance(q_len));
    EXPECT_THAT(std::vector<float>(c.out.begin(), c.out.begin() + 64), testing::Each(0.0F));
    c.params.parts = {};
    RunOne(device_, c.params);
    EXPECT_THAT(c.out, testing::Each(0.0F));
  }
}

TEST_P(AttendRowsTest, KeysMayComeFromARing) {
  for (const std::int32_t q_len : {1, 40}) {
    CausalCase c({2, 3, 24}, type(), 100, q_len, 4);
    const KvLayout& layout = c.kv.store->layout();
    const std::size_t row_bytes = layout.key_bytes();
    const std::int32_t first = 60;
    const std::int32_t capacity = 100 + q_len - first + 3;
    std::vector<std::byte> ring(capacity * row_bytes);
    for (std::int32_t row = first; row < 100 + q_len; ++row) {
      const std::byte* at =
          c.kv.store->LayerRows(c.kv.pages[row / 16], 0) + row % 16 * layout.row_bytes();
      std::copy_n(at, row_bytes, ring.data() + row % capacity * row_bytes);
    }
    c.parts[0].range.begin = first;
    RunOne(device_, c.params);
    const std::vector<float> from_pages = c.out;
    c.parts[0].keys = {ring.data(), capacity, row_bytes};
    RunOne(device_, c.params);
    EXPECT_EQ(c.out, from_pages);
  }
}

TEST_P(AttendRowsTest, ChunksEqualOneShot) {
  CausalCase whole({3, 3, 64}, type(), 0, 150, 7);
  RunOne(device_, whole.params);
  const std::size_t row = 9 * 64;
  for (const std::int32_t chunk : {1, 16, 64}) {
    std::vector<float> out(whole.out.size());
    for (std::int32_t past = 0; past < 150; past += chunk) {
      const std::int32_t n = std::min(chunk, 150 - past);
      const AttendPart part = {.queries = whole.queries.data() + past * row,
                               .range = {0, past + n},
                               .causal_from = past};
      AttendParams params = whole.params;
      params.q_len = n;
      params.parts = {&part, 1};
      params.out = out.data() + past * row;
      RunOne(device_, params);
    }
    for (std::size_t i = 0; i < out.size(); ++i)
      ASSERT_NEAR(out[i], whole.out[i], Tolerance(150)) << chunk;
  }
}

TEST_P(AttendRowsTest, SequenceInABatchEqualsItAlone) {
  const Shape shape = {3, 3, 64};
  std::vector<std::unique_ptr<CausalCase>> cases;
  for (const auto& [past, q_len] :
       {std::pair{70, 128}, {0, 1}, {1000, 1}, {63, 1}, {2500, 7}, {511, 1}, {5, 33}}) {
    cases.push_back(std::make_unique<CausalCase>(shape, type(), past, q_len, past));
  }
  AttendWorkspace workspace;
  std::vector<std::vector<float>> alone;
  for (const auto& c : cases) {
    AttendRows(device_, {&c->params, 1}, workspace);
    alone.push_back(c->out);
    std::fill(c->out.begin(), c->out.end(), 0.0F);
  }
  std::vector<AttendParams> batch;
  batch.reserve(cases.size());
  for (const auto& c : cases) batch.push_back(c->params);
  for (const int n_threads : {1, 2, 3}) {
    Device device(n_threads, level());
    AttendRows(device, batch, workspace);
    for (std::size_t i = 0; i < cases.size(); ++i) {
      ASSERT_EQ(cases[i]->out, alone[i]) << "sequence " << i << ", threads " << n_threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Levels,
    AttendRowsTest,
    testing::Combine(testing::ValuesIn(AvailableLevels()),
                     testing::Values(KvType::kF32, KvType::kBF16, KvType::kInt8)),
    [](const auto& test) {
      return std::string(CpuLevelName(std::get<0>(test.param))) + "_" +
             KvTypeName(std::get<1>(test.param));
    });

TEST(AttendRowsCheckTest, RefusesRowsOutsideThePageTable) {
  Device device(1);
  CausalCase c({1, 1, 8}, KvType::kF32, 31, 1, 1);
  c.parts[0].range.end = 33;
  EXPECT_THROW(RunOne(device, c.params), std::logic_error);
  const std::vector<std::int32_t> rows = {0, 32};
  c.parts[0] = {.queries = c.queries.data(), .rows = rows};
  EXPECT_THROW(RunOne(device, c.params), std::logic_error);
}

TEST(AttendRowsCheckTest, RefusesHeadsThatDoNotDivide) {
  Device device(1);
  CausalCase c({2, 2, 8}, KvType::kF32, 0, 1, 1);
  c.params.n_heads = 3;
  EXPECT_THROW(RunOne(device, c.params), std::logic_error);
}

}  // namespace
}  // namespace keyhole
