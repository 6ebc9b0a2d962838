#include "engine/ops/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/ops/half_float.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/ops/op_test_support.h"

namespace keyhole {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::vector<float> Apply(Device& device, const PackedLinear& weight, const std::vector<float>& x) {
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / weight.n_in();
  at::Tensor out = EmptyTensor({n, weight.n_out()});
  Linear(device, ToTensor(x, {n, weight.n_in()}), weight, out);
  return ToVector(out);
}

// The definition, in f64. `magnitude` gets the sum of |x * w|, the scale of rounding errors.
std::vector<double> Reference(const Matrix& w,
                              const std::vector<float>& x,
                              const std::vector<float>& bias,
                              std::vector<double>* magnitude) {
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / w.n_in;
  std::vector<double> out;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t o = 0; o < w.n_out; ++o) {
      double sum = bias.empty() ? 0 : bias[o];
      double size = std::fabs(sum);
      for (std::int64_t k = 0; k < w.n_in; ++k) {
        const double product = static_cast<double>(x[i * w.n_in + k]) * w.values[o * w.n_in + k];
        sum += product;
        size += std::fabs(product);
      }
      out.push_back(sum);
      magnitude->push_back(size);
    }
  }
  return out;
}

// x as the int8 kernels see it: blocks of 32 on the grid absmax / 127.
std::vector<float> RoundInputs(std::vector<float> x, std::int64_t n_in) {
  for (std::size_t row = 0; row < x.size(); row += n_in) {
    for (std::int64_t k = 0; k < n_in; k += 32) {
      const auto first = x.begin() + row + k;
      const auto last = first + std::min<std::int64_t>(32, n_in - k);
      float largest = 0;
      for (auto v = first; v != last; ++v) largest = std::max(largest, std::fabs(*v));
      if (largest == 0) continue;
      for (auto v = first; v != last; ++v) {
        *v = std::nearbyint(*v * (127 / largest)) * (largest / 127);
      }
    }
  }
  return x;
}

Matrix RoundWeightsToBf16(Matrix w) {
  for (float& value : w.values) {
    const std::uint32_t bits = static_cast<std::uint32_t>(Float32ToBf16(value)) << 16;
    std::memcpy(&value, &bits, sizeof(value));
  }
  return w;
}

// int8 weights of Pack: 127 steps to each side of the largest value, the step rounded to f16.
Matrix RoundWeightsToInt8(Matrix w) {
  for (std::int64_t row = 0; row < w.n_out; ++row) {
    for (std::int64_t k = 0; k < w.n_in; k += 32) {
      float* v = w.values.data() + row * w.n_in + k;
      const std::int64_t n = std::min<std::int64_t>(32, w.n_in - k);
      float largest = 0;
      for (int i = 0; i < n; ++i) largest = std::max(largest, std::fabs(v[i]));
      const float step = HalfToFloat32(Float32ToHalf(largest / 127));
      for (int i = 0; i < n; ++i) {
        v[i] = step * std::clamp(std::nearbyint(v[i] * (1 / step)), -127.0F, 127.0F);
      }
    }
  }
  return w;
}

Matrix RoundWeights(LinearFormat format, const Matrix& w) {
  if (format == LinearFormat::kBF16) return RoundWeightsToBf16(w);
  if (format == LinearFormat::kInt8) return RoundWeightsToInt8(w);
  return w;
}

void ExpectNear(const std::vector<float>& got,
                const std::vector<double>& want,
                const std::vector<double>& magnitude) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 4e-6 * magnitude[i] + 1e-30) << "value " << i;
  }
}

constexpr LinearFormat kFormats[] = {LinearFormat::kF32, LinearFormat::kBF16, LinearFormat::kInt8};

struct Shape {
  std::int64_t n, n_out, n_in;
};

class LinearTest : public ::testing::TestWithParam<CpuLevel> {
 protected:
  Device device_{2, GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Levels, LinearTest, ::testing::ValuesIn(AvailableLevels()), LevelTestName);

TEST_P(LinearTest, EqualsTheDefinition) {
  unsigned seed = 1;
  for (const Shape s : {Shape{1, 1, 1},
                        Shape{1, 16, 32},
                        Shape{3, 17, 33},
                        Shape{13, 100, 96},
                        Shape{25, 47, 160},
                        Shape{7, 130, 577},
                        Shape{40, 64, 64}}) {
    for (const LinearFormat format : kFormats) {
      const Matrix w = RandomMatrix(s.n_out, s.n_in, ++seed);
      const std::vector<float> x = RandomValues(s.n * s.n_in, ++seed);
      const std::vector<float> bias =
          s.n % 2 == 0 ? std::vector<float>() : RandomValues(s.n_out, ++seed);
      const std::vector<float> seen = format == LinearFormat::kInt8 ? RoundInputs(x, s.n_in) : x;
      std::vector<double> magnitude;
      const auto want = Reference(RoundWeights(format, w), seen, bias, &magnitude);
      ExpectNear(Apply(device_, PackOrDie(device_, format, w, bias), x), want, magnitude);
    }
  }
}

TEST_P(LinearTest, RowDoesNotDependOnTheOthers) {
  for (const LinearFormat format : kFormats) {
    const Matrix w = RandomMatrix(75, 320, 5);
    const PackedLinear packed = PackOrDie(device_, format, w, RandomValues(75, 6));
    for (const std::int64_t n : {2, 3, 7, 12, 13, 100, 512}) {
      const std::vector<float> x = RandomValues(n * 320, 7);
      const std::vector<float> together = Apply(device_, packed, x);
      for (std::int64_t row = 0; row < n; row += std::max<std::int64_t>(1, n / 9)) {
        const auto first = x.begin() + row * 320;
        const std::vector<float> alone = Apply(device_, packed, {first, first + 320});
        const auto at = together.begin() + row * 75;
        ASSERT_THAT(std::vector<float>(at, at + 75), ElementsAreArray(alone)) << n << " " << row;
      }
    }
  }
}

TEST_P(LinearTest, NumberOfThreadsDoesNotMatter) {
  for (const LinearFormat format : kFormats) {
    for (const std::int64_t n : {1, 37}) {
      const Matrix w = RandomMatrix(333, 256, 8);
      const std::vector<float> x = RandomValues(n * 256, 9);
      std::vector<std::vector<float>> results;
      for (const int n_threads : {1, 2, 3}) {
        Device device(n_threads, GetParam());
        results.push_back(Apply(device, PackOrDie(device, format, w), x));
      }
      EXPECT_EQ(results[0], results[1]);
      EXPECT_EQ(results[0], results[2]);
    }
  }
}

// The integer sums are exact and every level adds blocks in the same order; only the portable level
// rounds a product before it adds it.
TEST_P(LinearTest, AgreesWithTheBestLevel) {
  Device best(1);
  for (const LinearFormat format : kFormats) {
    const Matrix w = RandomMatrix(50, 288, 10);
    const std::vector<float> x = RandomValues(5 * 288, 11);
    const auto got = Apply(device_, PackOrDie(device_, format, w), x);
    const auto want = Apply(best, PackOrDie(best, format, w), x);
    if (GetParam() != CpuLevel::kPortable) {
      EXPECT_EQ(got, want);
    } else {
      for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5);
    }
  }
}

TEST_P(LinearTest, ExtremeInputsOfInt8) {
  const Matrix w = RandomMatrix(20, 64, 12);
  const PackedLinear packed = PackOrDie(device_, LinearFormat::kInt8, w);
  const std::vector<float> zero = Apply(device_, packed, std::vector<float>(64, 0.0F));
  EXPECT_EQ(zero, std::vector<float>(20, 0.0F));
  std::vector<float> x(64, 1e-38F);
  EXPECT_EQ(Apply(device_, packed, x), std::vector<float>(20, 0.0F));
  x[40] = std::numeric_limits<float>::quiet_NaN();
  x[3] = std::numeric_limits<float>::infinity();
  for (const float value : Apply(device_, packed, x)) EXPECT_FALSE(std::isfinite(value));
  for (const int at : {0, 1, 9, 22, 31}) {
    x.assign(64, 1);
    x[at] = std::numeric_limits<float>::quiet_NaN();
    for (const float value : Apply(device_, packed, x)) EXPECT_FALSE(std::isfinite(value)) << at;
  }
}

TEST_P(LinearTest, AWeightThatIsNoNumberShowsAndHarmsNoOther) {
  for (const LinearFormat format : kFormats) {
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      Matrix w = RandomMatrix(40, 96, 3);
      w.values[17 * 96 + 50] = bad;
      const std::vector<float> out =
          Apply(device_, PackOrDie(device_, format, w, {}), RandomValues(9 * 96, 4));
      for (std::size_t i = 0; i < out.size(); ++i) EXPECT_EQ(std::isfinite(out[i]), i % 40 != 17);
    }
  }
}

TEST_P(LinearTest, NoRows) {
  const PackedLinear packed = PackOrDie(device_, LinearFormat::kInt8, RandomMatrix(8, 32, 1));
  EXPECT_TRUE(Apply(device_, packed, {}).empty());
}

// ---- weights of quantised files
// ---------------------------------------------------------------------

struct QuantizedMatrix {
  QuantizedEncoding encoding;
  std::vector<std::byte> bytes;
  std::size_t row_bytes;
  Matrix values;  // as SplitRow describes them

  QuantizedRows rows() const {
    return {encoding, [this](std::int64_t row) { return bytes.data() + row * row_bytes; }};
  }
};

QuantizedMatrix RandomQuantized(QuantizedEncoding encoding,
                                std::int64_t n_out,
                                std::int64_t n_in,
                                unsigned seed) {
  const QuantizedTraits& traits = TraitsOf(encoding);
  QuantizedMatrix m = {encoding,
                       RandomQuantizedRows(encoding, n_out, n_in, seed),
                       static_cast<std::size_t>(n_in / traits.block_size * traits.block_bytes),
                       {}};
  m.values = {n_out, n_in, QuantizedValues(m.rows(), n_out, n_in)};
  return m;
}

TEST_P(LinearTest, HoldsQuantisedFilesExactly) {
  unsigned seed = 20;
  for (int e = 0; e <= static_cast<int>(QuantizedEncoding::kQ5_K); ++e) {
    for (const std::int64_t n : {1, 6, 13}) {
      const auto m = RandomQuantized(static_cast<QuantizedEncoding>(e), 37, 512, ++seed);
      const std::vector<float> x = RandomValues(n * 512, ++seed);
      auto packed = PackedLinear::PackQuantized(device_, 37, 512, m.rows());
      ASSERT_TRUE(packed.ok()) << packed.status();
      std::vector<double> magnitude;
      const auto want = Reference(m.values, RoundInputs(x, 512), {}, &magnitude);
      SCOPED_TRACE(e);
      ExpectNear(Apply(device_, *packed, x), want, magnitude);
    }
  }
}

// Every height of a tile, and several tiles.
TEST_P(LinearTest, QuantisedRowDoesNotDependOnTheOthers) {
  for (const auto encoding :
       {QuantizedEncoding::kQ4_0, QuantizedEncoding::kQ4_1, QuantizedEncoding::kQ5_K}) {
    const auto m = RandomQuantized(encoding, 70, 256, 50);
    auto packed = PackedLinear::PackQuantized(device_, 70, 256, m.rows());
    ASSERT_TRUE(packed.ok());
    const std::vector<float> x = RandomValues(31 * 256, 51);
    std::vector<float> alone;
    for (int row = 0; row < 31; ++row) {
      const auto first = x.begin() + row * 256;
      const std::vector<float> out = Apply(device_, *packed, {first, first + 256});
      alone.insert(alone.end(), out.begin(), out.end());
    }
    for (const int n : {2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 31}) {
      EXPECT_THAT(Apply(device_, *packed, {x.begin(), x.begin() + n * 256}),
                  ElementsAreArray(alone.begin(), alone.begin() + n * 70))
          << n;
    }
  }
}

// Rows that are too long to be multiplied in one piece, with and without a bias; the last panel is
// partly filled.
TEST_P(LinearTest, LongQuantisedRows) {
  constexpr std::int64_t kIn = 2304;
  const std::vector<float> x = RandomValues(9 * kIn, 71);
  for (const auto encoding :
       {QuantizedEncoding::kQ4_0, QuantizedEncoding::kQ4_1, QuantizedEncoding::kQ8_0}) {
    const auto m = RandomQuantized(encoding, 39, kIn, 70);
    for (const auto& bias : {std::vector<float>(), RandomValues(39, 72)}) {
      auto packed = PackedLinear::PackQuantized(device_, 39, kIn, m.rows(), bias);
      ASSERT_TRUE(packed.ok()) << packed.status();
      std::vector<double> magnitude;
      const auto want = Reference(m.values, RoundInputs(x, kIn), bias, &magnitude);
      const std::vector<float> got = Apply(device_, *packed, x);
      ExpectNear(got, want, magnitude);
      for (int row = 0; row < 9; ++row) {
        const auto first = x.begin() + row * kIn;
        EXPECT_THAT(Apply(device_, *packed, {first, first + kIn}),
                    ElementsAreArray(got.begin() + row * 39, got.begin() + (row + 1) * 39));
      }
    }
  }
}

// ---- errors
// -----------------------------------------------------------------------------------------

TEST(Linear, FourBitCodesStayFourBits) {
  Device device(1);
  const auto m = RandomQuantized(QuantizedEncoding::kQ4_1, 64, 512, 60);
  auto packed = PackedLinear::PackQuantized(device, 64, 512, m.rows());
  ASSERT_TRUE(packed.ok());
  EXPECT_EQ(packed->bytes(), m.bytes.size());
}

TEST(Linear, BadShapesAreRefused) {
  Device device(1);
  const Matrix w = RandomMatrix(4, 48, 1);
  const std::vector<float> bias(3);
  const auto wrong_bias = PackedLinear::Pack(device, LinearFormat::kF32, 4, 48, w.reader(), bias);
  EXPECT_EQ(wrong_bias.status().code(), absl::StatusCode::kInvalidArgument);
  const auto empty = PackedLinear::Pack(device, LinearFormat::kF32, 0, 48, w.reader());
  EXPECT_EQ(empty.status().code(), absl::StatusCode::kInvalidArgument);
  const auto m = RandomQuantized(QuantizedEncoding::kQ4_0, 4, 64, 1);
  const auto blocks = PackedLinear::PackQuantized(device, 4, 48, m.rows());
  EXPECT_EQ(blocks.status().code(), absl::StatusCode::kInvalidArgument);
  const auto huge =
      PackedLinear::Pack(device, LinearFormat::kF32, std::int64_t{1} << 30, 1 << 24, w.reader());
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(Linear, WrongTensorsAreADefectOfTheCaller) {
  Device device(1);
  const PackedLinear packed = PackOrDie(device, LinearFormat::kF32, RandomMatrix(4, 48, 1));
  at::Tensor out = EmptyTensor({2, 5});
  try {
    Linear(device, EmptyTensor({2, 48}), packed, out);
    FAIL() << "accepted";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("Linear: out"));
    EXPECT_THAT(error.what(), HasSubstr("n_out = 4"));
  }
}

}  // namespace
}  // namespace keyhole
