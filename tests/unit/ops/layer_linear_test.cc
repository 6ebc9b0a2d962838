#include "engine/ops/layer_linear.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/add.h"
#include "engine/ops/rms_norm.h"
#include "engine/ops/silu_mul.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/ops/op_test_support.h"

namespace keyhole {
namespace {

using Values = std::vector<float>;

constexpr double kEps = 1e-5;

// A sum of products and how far rounding may move it: each factor by about a hundredth, and
// these errors are independent.
struct Sum {
  double value = 0;
  double squares = 0;

  void Add(double product) {
    value += product;
    squares += product * product;
  }
  double tolerance() const { return 0.1 * std::sqrt(squares) + 1e-6; }
};

std::vector<double> Normed(const Values& x, const Values& weight) {
  const std::size_t n = weight.size();
  std::vector<double> out;
  for (std::size_t row = 0; row < x.size(); row += n) {
    double squares = 0;
    for (std::size_t k = 0; k < n; ++k) squares += std::pow(x[row + k], 2);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(n) + kEps);
    for (std::size_t k = 0; k < n; ++k) out.push_back(x[row + k] * scale * weight[k]);
  }
  return out;
}

std::vector<Sum> Product(const std::vector<double>& x, const Matrix& w, const Values& bias) {
  std::vector<Sum> out;
  for (std::size_t row = 0; row < x.size(); row += w.n_in) {
    for (std::int64_t o = 0; o < w.n_out; ++o) {
      Sum sum;
      for (std::int64_t k = 0; k < w.n_in; ++k) sum.Add(x[row + k] * w.values[o * w.n_in + k]);
      if (!bias.empty()) sum.value += bias[o];
      out.push_back(sum);
    }
  }
  return out;
}

void ExpectNear(const Values& got, const std::vector<Sum>& want, const Values& before = {}) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double base = before.empty() ? 0 : before[i];
    ASSERT_NEAR(got[i], base + want[i].value, want[i].tolerance()) << "value " << i;
  }
}

struct Shape {
  std::int64_t n, n_decode, n_out, n_in;
};

// One call of LayerLinear with everything: returns the sum, which starts as `before`.
Values Apply(Device& device,
             const PackedLinear& weight,
             const Values& x,
             const Values& norm,
             const Values& before,
             std::int64_t n_decode) {
  const auto n = static_cast<std::int64_t>(x.size()) / weight.n_in();
  const at::Tensor in = ToTensor(x, {n, weight.n_in()});
  const at::Tensor norm_weight = ToTensor(norm, {weight.n_in()});
  at::Tensor normed = EmptyTensor({n, weight.n_in()});
  at::Tensor out = EmptyTensor({n, weight.n_out()});
  at::Tensor sum = ToTensor(before, {n, weight.n_out()});
  LayerLinear(device, {&in, n_decode, {&norm_weight, kEps, &normed}}, weight, {&out, &sum});
  return ToVector(sum);
}

class LayerLinearTest : public ::testing::TestWithParam<CpuLevel> {
 protected:
  Device device_{2, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Levels,
                         LayerLinearTest,
                         ::testing::ValuesIn(AvailableLevels()),
                         LevelTestName);

TEST_P(LayerLinearTest, EqualsTheDefinition) {
  unsigned seed = 1;
  for (const Shape s : {Shape{2, 0, 1, 1},
                        Shape{16, 1, 16, 32},
                        Shape{33, 0, 17, 33},
                        Shape{40, 3, 100, 96},
                        Shape{17, 8, 47, 700},
                        Shape{65, 0, 130, 1537},
                        Shape{530, 2, 40, 64}}) {
    for (const LinearFormat format :
         {LinearFormat::kF32, LinearFormat::kBF16, LinearFormat::kInt8}) {
      SCOPED_TRACE(std::to_string(s.n) + " rows, format " +
                   std::to_string(static_cast<int>(format)));
      const Matrix w = RandomMatrix(s.n_out, s.n_in, ++seed);
      const Values bias = s.n % 2 == 0 ? Values() : RandomValues(s.n_out, ++seed);
      const Values x = RandomValues(s.n * s.n_in, ++seed);
      const Values norm = RandomValues(s.n_in, ++seed);
      const Values before = RandomValues(s.n * s.n_out, ++seed);
      const PackedLinear packed = PackOrDie(device_, format, w, bias);
      ExpectNear(Apply(device_, packed, x, norm, before, s.n_decode),
                 Product(Normed(x, norm), w, bias),
                 before);

      at::Tensor out = EmptyTensor({s.n, s.n_out});
      const at::Tensor in = ToTensor(x, {s.n, s.n_in});
      LayerLinear(device_, {&in, s.n_decode, {}}, packed, {&out, nullptr});
      ExpectNear(ToVector(out), Product({x.begin(), x.end()}, w, bias));
    }
  }
}

// Parts that begin at pairs of panels and parts that do not.
TEST_P(LayerLinearTest, ColumnsOfSeveralMatricesAreThoseOfOne) {
  unsigned seed = 300;
  for (const std::vector<std::int64_t>& sizes :
       {std::vector<std::int64_t>{64, 32, 32}, {96, 32, 20}, {40, 8, 8}, {48}}) {
    std::int64_t n_out = 0;
    for (const std::int64_t size : sizes) n_out += size;
    const Matrix w = RandomMatrix(n_out, 64, ++seed);
    for (const LinearFormat format :
         {LinearFormat::kF32, LinearFormat::kBF16, LinearFormat::kInt8}) {
      const PackedLinear packed = PackOrDie(device_, format, w, RandomValues(n_out, seed));
      for (const auto& [n, n_decode] :
           {std::pair<std::int64_t, std::int64_t>{1, 1}, {70, 0}, {37, 5}, {6, 6}}) {
        const at::Tensor in = ToTensor(RandomValues(n * 64, ++seed), {n, 64});
        at::Tensor together = EmptyTensor({n, n_out});
        LayerLinear(device_, {&in, n_decode, {}}, packed, {&together, nullptr});
        at::Tensor all = EmptyTensor({n, n_out});
        std::vector<at::Tensor> parts;
        for (const std::int64_t size : sizes) parts.push_back(EmptyTensor({n, size}));
        std::vector<at::Tensor*> pointers;
        for (at::Tensor& part : parts) pointers.push_back(&part);
        LayerLinearApart(device_, {&in, n_decode, {}}, packed, {&all, pointers});
        std::int64_t first = 0;
        for (std::size_t i = 0; i < parts.size(); first += sizes[i++]) {
          EXPECT_TRUE(parts[i].equal(together.narrow(1, first, sizes[i])))
              << "part " << i << " of " << n << " rows";
        }
      }
    }
  }
}

TEST_P(LayerLinearTest, RefusesPartsThatAreNotAllColumns) {
  const PackedLinear packed = PackOrDie(device_, LinearFormat::kInt8, RandomMatrix(64, 32, 1), {});
  const at::Tensor in = ToTensor(RandomValues(2 * 32, 2), {2, 32});
  at::Tensor all = EmptyTensor({2, 64});
  at::Tensor narrow = EmptyTensor({2, 32});
  at::Tensor short_one = EmptyTensor({1, 64});
  at::Tensor* const too_narrow[] = {&narrow};
  at::Tensor* const too_short[] = {&short_one};
  EXPECT_THROW(LayerLinearApart(device_, {&in, 0, {}}, packed, {&all, too_narrow}),
               std::logic_error);
  EXPECT_THROW(LayerLinearApart(device_, {&in, 0, {}}, packed, {&all, too_short}),
               std::logic_error);
}

// Codes of 4, 5 and 8 bits, with and without offsets and a zero.
TEST_P(LayerLinearTest, QuantisedFilesEqualTheDefinition) {
  for (int e = 0; e <= static_cast<int>(QuantizedEncoding::kQ5_K); ++e) {
    const auto encoding = static_cast<QuantizedEncoding>(e);
    const QuantizedTraits& traits = TraitsOf(encoding);
    constexpr std::int64_t kIn = 512;
    constexpr std::int64_t kOut = 37;
    const std::vector<std::byte> bytes = RandomQuantizedRows(encoding, kOut, kIn, 20 + e);
    const std::int64_t row_bytes = kIn / traits.block_size * traits.block_bytes;
    const QuantizedRows rows = {encoding,
                                [&](std::int64_t row) { return bytes.data() + row * row_bytes; }};
    auto packed = PackedLinear::PackQuantized(device_, kOut, kIn, rows);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const Values x = RandomValues(20 * kIn, 40 + e);
    const at::Tensor in = ToTensor(x, {20, kIn});
    at::Tensor out = EmptyTensor({20, kOut});
    LayerLinear(device_, {&in, 0, {}}, *packed, {&out, nullptr});
    SCOPED_TRACE(e);
    const Matrix values = {kOut, kIn, QuantizedValues(rows, kOut, kIn)};
    ExpectNear(ToVector(out), Product({x.begin(), x.end()}, values, {}));
  }
}

TEST_P(LayerLinearTest, RowsOfDecodeHaveTheBitsOfTheOperatorsInTurn) {
  const Matrix w = RandomMatrix(75, 320, 2);
  const PackedLinear packed = PackOrDie(device_, LinearFormat::kInt8, w);
  const Values norm = RandomValues(320, 3);
  for (const std::int64_t n : {1, 5, 40}) {
    const Values x = RandomValues(n * 320, 4);
    const Values before = RandomValues(n * 75, 5);
    at::Tensor normed = EmptyTensor({n, 320});
    RmsNorm(device_, ToTensor(x, {n, 320}), ToTensor(norm, {320}), kEps, normed);
    at::Tensor product = EmptyTensor({n, 75});
    Linear(device_, normed, packed, product);
    at::Tensor sum = ToTensor(before, {n, 75});
    AddInPlace(device_, sum, product);
    const Values want = ToVector(sum);
    for (const std::int64_t n_decode : {n, n - 1}) {
      const Values got = Apply(device_, packed, x, norm, before, n_decode);
      EXPECT_TRUE(std::equal(got.begin(), got.begin() + n_decode * 75, want.begin())) << n;
    }
  }
}

TEST_P(LayerLinearTest, RowOfAChunkDependsOnNothingBesideIt) {
  const Matrix w = RandomMatrix(75, 1320, 6);
  const Values norm = RandomValues(1320, 7);
  for (const std::int64_t n : {2, 15, 16, 17, 100, 500}) {
    const Values x = RandomValues(n * 1320, 8);
    const Values before = RandomValues(n * 75, 9);
    const PackedLinear packed = PackOrDie(device_, LinearFormat::kInt8, w, RandomValues(75, 10));
    const Values together = Apply(device_, packed, x, norm, before, 0);
    for (const int n_threads : {1, 3}) {
      Device other(n_threads, GetParam());
      EXPECT_EQ(Apply(other, packed, x, norm, before, 0), together) << n_threads;
    }
    const Values mixed = Apply(device_, packed, x, norm, before, 1);
    EXPECT_TRUE(std::ranges::equal(std::span(mixed).subspan(75), std::span(together).subspan(75)));
    for (std::int64_t row = 0; row < n; row += 1 + n / 5) {
      const Values alone = Apply(device_,
                                 packed,
                                 {x.begin() + row * 1320, x.begin() + (row + 1) * 1320},
                                 norm,
                                 {before.begin() + row * 75, before.begin() + (row + 1) * 75},
                                 0);
      EXPECT_TRUE(std::ranges::equal(alone, std::span(together).subspan(row * 75, 75)))
          << n << " " << row;
    }
  }
}

// ---- feed-forward

struct Block {
  Block(Device& device, LinearFormat format, std::int64_t hidden, std::int64_t ffn, unsigned seed)
      : gate_up_matrix(RandomMatrix(2 * ffn, hidden, seed)),
        down_matrix(RandomMatrix(hidden, ffn, seed + 1)),
        bias(RandomValues(2 * ffn, seed + 2, 0.1F)),
        norm(RandomValues(hidden, seed + 3)),
        gate_up(PackOrDie(device, format, gate_up_matrix, bias)),
        down(PackOrDie(device, format, down_matrix)) {}

  // What is added to x, and with `add` that sum.
  Values Run(Device& device, const Values& x, std::int64_t n_decode, bool add) const {
    const std::int64_t hidden = down.n_out();
    const std::int64_t ffn = down.n_in();
    const auto n = static_cast<std::int64_t>(x.size()) / hidden;
    at::Tensor in = ToTensor(x, {n, hidden});
    const at::Tensor norm_weight = ToTensor(norm, {hidden});
    at::Tensor normed = EmptyTensor({n, hidden});
    at::Tensor between = EmptyTensor({n, 2 * ffn});
    at::Tensor gated = EmptyTensor({n, ffn});
    FeedForward(device,
                {&in, n_decode, {&norm_weight, kEps, &normed}},
                {&gate_up, &down},
                {&between, &gated},
                {&normed, add ? &in : nullptr});
    return ToVector(add ? in : normed);
  }

  std::vector<Sum> Reference(const Values& x) const {
    const std::int64_t ffn = down.n_in();
    const std::vector<Sum> between = Product(Normed(x, norm), gate_up_matrix, bias);
    std::vector<double> gated;
    for (std::size_t row = 0; row < between.size(); row += 2 * ffn) {
      for (std::int64_t k = 0; k < ffn; ++k) {
        const double gate = between[row + k].value;
        gated.push_back(gate / (1 + std::exp(-gate)) * between[row + ffn + k].value);
      }
    }
    std::vector<Sum> out = Product(gated, down_matrix, {});
    // What is multiplied last is itself rounded at every step before.
    for (Sum& sum : out) sum.squares *= 4;
    return out;
  }

  Matrix gate_up_matrix;
  Matrix down_matrix;
  Values bias;
  Values norm;
  PackedLinear gate_up;
  PackedLinear down;
};

TEST_P(LayerLinearTest, FeedForwardEqualsTheDefinition) {
  unsigned seed = 100;
  for (const auto& [n, n_decode, hidden, ffn] : {Shape{2, 0, 32, 32},
                                                 Shape{33, 4, 64, 96},
                                                 Shape{20, 0, 50, 40},  // no whole blocks between
                                                 Shape{17, 0, 700, 48},
                                                 Shape{515, 1, 96, 704}}) {
    for (const LinearFormat format : {LinearFormat::kF32, LinearFormat::kInt8}) {
      SCOPED_TRACE(std::to_string(n) + " rows, format " + std::to_string(static_cast<int>(format)));
      const Block block(device_, format, hidden, ffn, seed += 4);
      const Values x = RandomValues(n * hidden, ++seed);
      const std::vector<Sum> want = block.Reference(x);
      ExpectNear(block.Run(device_, x, n_decode, false), want);
      ExpectNear(block.Run(device_, x, n_decode, true), want, x);
    }
  }
}

TEST_P(LayerLinearTest, FeedForwardOfARowDependsOnNothingBesideIt) {
  const Block block(device_, LinearFormat::kInt8, 96, 160, 7);
  const Values x = RandomValues(50 * 96, 8);
  const Values decode = block.Run(device_, x, 50, true);
  const Values chunk = block.Run(device_, x, 0, true);
  const Values mixed = block.Run(device_, x, 20, true);
  EXPECT_TRUE(
      std::ranges::equal(std::span(mixed).first(20 * 96), std::span(decode).first(20 * 96)));
  EXPECT_TRUE(
      std::ranges::equal(std::span(mixed).subspan(20 * 96), std::span(chunk).subspan(20 * 96)));
  Device other(3, GetParam());
  EXPECT_EQ(block.Run(other, x, 20, true), mixed);
}

TEST_P(LayerLinearTest, FeedForwardRefusesMatricesThatDoNotFit) {
  const PackedLinear gate_up = PackOrDie(device_, LinearFormat::kInt8, RandomMatrix(128, 64, 1));
  const PackedLinear down = PackOrDie(device_, LinearFormat::kInt8, RandomMatrix(64, 32, 2));
  at::Tensor x = ToTensor(RandomValues(2 * 64, 3), {2, 64});
  at::Tensor between = EmptyTensor({2, 128});
  at::Tensor gated = EmptyTensor({2, 64});
  EXPECT_THROW(
      FeedForward(device_, {&x, 0, {}}, {&gate_up, &down}, {&between, &gated}, {nullptr, &x}),
      std::logic_error);
}

TEST_P(LayerLinearTest, WhatIsNotFiniteShows) {
  const Block block(device_, LinearFormat::kInt8, 64, 64, 9);
  Values x = RandomValues(3 * 64, 10);
  x[64 + 5] = std::numeric_limits<float>::quiet_NaN();
  const Values out = block.Run(device_, x, 0, false);
  for (int k = 0; k < 64; ++k) {
    EXPECT_TRUE(std::isfinite(out[k]));
    EXPECT_FALSE(std::isfinite(out[64 + k]));
    EXPECT_TRUE(std::isfinite(out[128 + k]));
  }
}

}  // namespace
}  // namespace keyhole
