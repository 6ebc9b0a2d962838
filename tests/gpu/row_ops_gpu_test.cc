#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "engine/ops/cpu/row_ops_cpu.h"
#include "engine/ops/cuda/kernels/bf16.h"
#include "engine/ops/cuda/linear.h"
#include "engine/ops/cuda/rank_ops.h"
#include "engine/ops/cuda/row_ops.h"
#include "engine/ops/cuda/sampling.h"
#include "engine/ops/half_float.h"
#include "tests/gpu/gpu_fixture.h"
#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

class RowOpsGpuTest : public GpuTest {
 protected:
  std::vector<float> Random(std::size_t n, float deviation = 1) {
    std::normal_distribution<float> normal(0, deviation);
    std::vector<float> x(n);
    for (float& value : x) value = normal(random_);
    return x;
  }

  void ExpectNear(const std::vector<float>& got,
                  const std::vector<float>& expected,
                  double relative = 2e-6) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], expected[i], relative * (1 + std::fabs(expected[i]))) << "value " << i;
    }
  }

  Device cpu_{1};
  std::mt19937 random_{17};
};

TEST_F(RowOpsGpuTest, RmsNorm) {
  for (const std::int64_t n : {1, 31, 64, 128, 129, 1000, 4096, 4097, 16384}) {
    const std::vector<float> x = Random(3 * n, 4);
    const std::vector<float> weight = Random(n);
    std::vector<float> expected(3 * n);
    RmsNormCpu(cpu_, {x.data(), weight.data(), expected.data(), 3, n, 0.5});
    float* on_device = ToDevice(x);
    cuda::RmsNorm(stream(),
                  {.x = on_device,
                   .weight = ToDevice(weight),
                   .out = on_device,
                   .n_rows = 3,
                   .n = n,
                   .eps = 0.5F});
    ExpectNear(FromDevice(on_device, 3 * n), expected);
  }
}

TEST_F(RowOpsGpuTest, ANormedRowHasTheSameBitsInAnyBatch) {
  for (const std::int64_t n : {128, 300, 5000}) {
    const std::vector<float> x = Random(3 * n);
    cuda::RmsNormArgs args = {.x = ToDevice(x),
                              .weight = ToDevice(Random(n)),
                              .out = Take<float>(3 * n),
                              .n_rows = 3,
                              .n = n,
                              .eps = 1e-5F};
    cuda::RmsNorm(stream(), args);
    const std::vector<float> all = FromDevice(args.out, 3 * n);
    args.x += 2 * n;
    args.n_rows = 1;
    cuda::RmsNorm(stream(), args);
    EXPECT_EQ(FromDevice(args.out, n), std::vector<float>(all.begin() + 2 * n, all.end()));
  }
  EXPECT_THROW(cuda::RmsNorm(stream(), {.n = cuda::kMaxNormed + 1}), std::logic_error);
}

TEST_F(RowOpsGpuTest, RoundedResultsAreThoseRounded) {
  const std::int64_t n = 300;
  const std::vector<float> x = Random(2 * n);
  const float* on_device = ToDevice(x);
  const float* weight = ToDevice(Random(n));
  const auto rounded = [](const std::vector<float>& values) {
    std::vector<std::uint16_t> bits(values.size());
    std::ranges::transform(values, bits.begin(), Float32ToBf16);
    return bits;
  };
  cuda::RmsNormArgs norm = {
      .x = on_device, .weight = weight, .out = Take<float>(2 * n), .n_rows = 2, .n = n};
  cuda::RmsNorm(stream(), norm);
  norm.rounded = Take<std::uint16_t>(2 * n);
  cuda::RmsNorm(stream(), norm);
  EXPECT_EQ(FromDevice(norm.rounded, 2 * n), rounded(FromDevice(norm.out, 2 * n)));
  cuda::SiluMulArgs silu = {.gate_up = on_device, .out = Take<float>(n), .n_rows = 1, .n = n};
  cuda::SiluMul(stream(), silu);
  silu.rounded = Take<std::uint16_t>(n);
  cuda::SiluMul(stream(), silu);
  EXPECT_EQ(FromDevice(silu.rounded, n), rounded(FromDevice(silu.out, n)));
}

TEST_F(RowOpsGpuTest, LookedUpRowsAreTheTables) {
  constexpr std::int64_t kWidth = 37;
  const std::vector<float> table = Random(9 * kWidth);
  std::vector<std::uint16_t> bits(table.size());
  std::ranges::transform(table, bits.begin(), Float32ToBf16);
  const std::vector<std::int32_t> index = {8, 0, 3, 3};
  const std::int32_t* on_device = ToDevice(index);
  auto* out = Take<float>(4 * kWidth);
  for (const bool bf16 : {false, true}) {
    cuda::Lookup(stream(),
                 {.bf16_table = bf16 ? ToDevice(bits) : nullptr,
                  .table = ToDevice(table),
                  .index = on_device,
                  .out = out,
                  .n_rows = 4,
                  .n = kWidth});
    const std::vector<float> got = FromDevice(out, 4 * kWidth);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const float x = table[index[i / kWidth] * kWidth + i % kWidth];
      ASSERT_EQ(got[i], bf16 ? RoundTo(KvType::kBF16, x) : x);
    }
  }
}

TEST_F(RowOpsGpuTest, PartsOfRanksAreJoinedByColumns) {
  constexpr std::int64_t kRows = 5;
  for (const std::int64_t n_cols : {111, 100, 75}) {  // of 3 parts of 37 columns
    const std::int64_t part_size = kRows * 37 + 9;
    const std::vector<float> parts = Random(3 * part_size);
    auto* out = Take<float>(kRows * n_cols);
    cuda::JoinColumns(stream(),
                      {.parts = ToDevice(parts),
                       .out = out,
                       .part_size = part_size,
                       .n_rows = kRows,
                       .width = 37,
                       .n_cols = n_cols});
    const std::vector<float> got = FromDevice(out, kRows * n_cols);
    for (std::int64_t i = 0; i < kRows * n_cols; ++i) {
      const std::int64_t col = i % n_cols;
      ASSERT_EQ(got[i], parts[col / 37 * part_size + i / n_cols * 37 + col % 37]) << i;
    }
  }
  EXPECT_THROW(cuda::JoinColumns(stream(), {.n_rows = 1, .width = 1, .n_cols = 1}),
               std::logic_error);
}

TEST_F(RowOpsGpuTest, HashesTellRowsPlacesAndLayersApart) {
  const auto hash = [&](const std::vector<std::int32_t>& rows,
                        const std::vector<std::int32_t>& layers) {
    auto* sum = ToDevice(std::vector<std::uint64_t>(1));
    for (const std::int32_t layer : layers) {
      const cuda::HashRowsArgs args = {
          ToDevice(rows), sum, static_cast<std::int32_t>(rows.size()), layer};
      cuda::CheckLaunch(cuda::LaunchHashRows(args, stream().handle()), "HashRows");
    }
    return FromDevice(sum, 1)[0];
  };
  std::vector<std::int32_t> rows(1000);
  std::iota(rows.begin(), rows.end(), 5);
  std::uint64_t expected = 0;
  for (std::int32_t i = 0; i < 1000; ++i) {
    expected += cuda::RowHash(2, i, rows[i]) + cuda::RowHash(7, i, rows[i]);
  }
  EXPECT_EQ(hash(rows, {2, 7}), expected);
  EXPECT_EQ(hash(rows, {7, 2}), expected);
  EXPECT_NE(hash(rows, {2, 6}), expected);
  std::swap(rows[10], rows[500]);
  EXPECT_NE(hash(rows, {2, 7}), expected);
}

TEST_F(RowOpsGpuTest, ProductsAreThoseInF64) {
  constexpr std::int64_t kOut = 70;
  constexpr std::int64_t kIn = 96;
  cuda::LinearOp linear(stream());
  const std::vector<float> weight = Random(kOut * kIn);
  std::vector<std::uint16_t> bits(weight.size());
  std::ranges::transform(weight, bits.begin(), Float32ToBf16);
  const cuda::DeviceMatrix matrix = {ToDevice(bits), kOut, kIn};
  for (const std::int64_t n : {1, 2, 5}) {
    std::vector<std::uint16_t> rows;
    for (const float x : Random(n * kIn)) rows.push_back(Float32ToBf16(x));
    float* out = ToDevice(std::vector<float>(n * 30, 1000));
    linear.Run(ToDevice(rows), n, matrix.Rows(40, 30), out);
    linear.Run(ToDevice(rows), n, matrix.Rows(40, 30), out, cuda::LinearOp::Output::kAdd);
    const std::vector<float> got = FromDevice(out, n * 30);
    for (std::int64_t i = 0; i < n * 30; ++i) {
      double sum = 0;
      for (std::int64_t c = 0; c < kIn; ++c) {
        sum += double{cuda::Bf16ToFloat(rows[i / 30 * kIn + c])} *
               cuda::Bf16ToFloat(bits[(40 + i % 30) * kIn + c]);
      }
      ASSERT_NEAR(got[i], 2 * sum, 1e-4) << n << " rows, value " << i;
    }
  }
}

TEST_F(RowOpsGpuTest, Rope) {
  for (const std::int32_t half : {1, 12, 32, 64}) {
    const std::vector<std::int32_t> index = {4, 0, 9};
    const std::vector<float> cos = Random(10 * half);
    const std::vector<float> sin = Random(10 * half);
    const std::vector<float> x = Random(std::size_t{3} * 5 * 2 * half);
    std::vector<float> expected(x.size());
    RopeCpu(cpu_, {x.data(), cos.data(), sin.data(), index.data(), expected.data(), 3, 5, half});
    float* on_device = ToDevice(x);
    cuda::ApplyRope(stream(),
                    {.x = on_device,
                     .cos = ToDevice(cos),
                     .sin = ToDevice(sin),
                     .index = ToDevice(index),
                     .out = on_device,
                     .n_rows = 3,
                     .n_heads = 5,
                     .half = half});
    ExpectNear(FromDevice(on_device, x.size()), expected);
  }
}

TEST_F(RowOpsGpuTest, RopeTurnsTheSameRowsSeveralTimes) {
  constexpr std::int32_t kHalf = 12;
  const std::vector<std::int32_t> index = {4, 0, 9, 1, 1, 3};  // of two turns
  const std::vector<float> cos = Random(10 * kHalf);
  const std::vector<float> sin = Random(10 * kHalf);
  const std::vector<float> x = Random(std::size_t{3} * 5 * 2 * kHalf);
  std::vector<float> expected(2 * x.size());
  for (int turn = 0; turn < 2; ++turn) {
    RopeCpu(cpu_,
            {x.data(),
             cos.data(),
             sin.data(),
             index.data() + 3 * turn,
             expected.data() + turn * x.size(),
             3,
             5,
             kHalf});
  }
  auto* out = Take<float>(expected.size());
  cuda::ApplyRope(stream(),
                  {.x = ToDevice(x),
                   .cos = ToDevice(cos),
                   .sin = ToDevice(sin),
                   .index = ToDevice(index),
                   .out = out,
                   .n_rows = 3,
                   .n_heads = 5,
                   .half = kHalf,
                   .n_turns = 2});
  ExpectNear(FromDevice(out, expected.size()), expected);
}

TEST_F(RowOpsGpuTest, SiluMulAndAdd) {
  for (const std::int64_t n : {1, 100, 257}) {
    std::vector<float> gate_up = Random(2 * 2 * n, 5);
    gate_up[0] = -100;  // the gate is shut
    std::vector<float> expected(2 * n);
    SiluMulCpu(cpu_, {gate_up.data(), expected.data(), 2, n});
    float* out = Take<float>(2 * n);
    cuda::SiluMul(stream(), {.gate_up = ToDevice(gate_up), .out = out, .n_rows = 2, .n = n});
    ExpectNear(FromDevice(out, 2 * n), expected);

    const std::vector<float> y = Random(2 * n);
    cuda::AddInPlace(stream(), {.x = out, .y = ToDevice(y), .n = 2 * n});
    for (std::int64_t i = 0; i < 2 * n; ++i) expected[i] += y[i];
    ExpectNear(FromDevice(out, 2 * n), expected);

    cuda::AddToRows(stream(), {.x = out, .y = ToDevice(y), .n_rows = 2, .n = n});
    for (std::int64_t i = 0; i < 2 * n; ++i) expected[i] += y[i % n];
    ExpectNear(FromDevice(out, 2 * n), expected);
  }
}

TEST_F(RowOpsGpuTest, ArgMaxTakesTheSmallerTokenOfATie) {
  for (const std::int32_t vocab : {1, 31, 513, 5000}) {
    std::vector<float> logits(std::size_t{4} * vocab);
    for (float& x : logits) x = -static_cast<float>(random_() % 7);
    const cuda::ArgMaxArgs args = {.in = {ToDevice(logits), 4, vocab},
                                   .tokens = Take<std::int32_t>(4)};
    cuda::ArgMax(stream(), args);
    const std::vector<std::int32_t> tokens = FromDevice(args.tokens, 4);
    for (int row = 0; row < 4; ++row) {
      const auto first = logits.begin() + std::ptrdiff_t{row} * vocab;
      EXPECT_EQ(tokens[row], std::max_element(first, first + vocab) - first);
    }
  }
}

TEST_F(RowOpsGpuTest, SoftmaxEqualsTheFormula) {
  constexpr std::int32_t kVocab = 3001;
  const std::vector<float> logits = Random(2 * kVocab, 6);
  const std::vector<float> inverse = {1, 2.5F};
  const cuda::SoftmaxArgs args = {.in = {ToDevice(logits), 2, kVocab},
                                  .inverse_temperatures = ToDevice(inverse),
                                  .probabilities = Take<float>(2 * kVocab),
                                  .log_sums = Take<float>(2)};
  cuda::Softmax(stream(), args);
  const std::vector<float> probabilities = FromDevice(args.probabilities, 2 * kVocab);
  const std::vector<float> log_sums = FromDevice(args.log_sums, 2);
  for (int row = 0; row < 2; ++row) {
    double sum = 0;
    for (int i = 0; i < kVocab; ++i)
      sum += std::exp(double{inverse[row]} * logits[row * kVocab + i]);
    EXPECT_NEAR(log_sums[row], std::log(sum), 1e-5 * std::log(sum));
    for (int i = 0; i < kVocab; ++i) {
      const double expected = std::exp(double{inverse[row]} * logits[row * kVocab + i]) / sum;
      ASSERT_NEAR(probabilities[row * kVocab + i], expected, 1e-5 * expected + 1e-12);
    }
  }
}

TEST_F(RowOpsGpuTest, TheSameArgumentsAreCopiedOnce) {
  std::vector<int> args = {1, 2, 3};
  const int* first = workspace().Upload<int>(args);
  EXPECT_EQ(FromDevice(first, 3), args);
  EXPECT_EQ(workspace().Upload<int>(args), first);
  EXPECT_EQ(workspace().n_copies(), 1);
  for (int i = 0; i < 40; ++i) {
    args.resize(3 + i * 100, i);
    args[0] = i;
    EXPECT_EQ(FromDevice(workspace().Upload<int>(args), args.size()), args);
  }
  EXPECT_EQ(workspace().n_copies(), 41);
}

}  // namespace
}  // namespace keyhole
