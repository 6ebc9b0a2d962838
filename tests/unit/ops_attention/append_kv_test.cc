#include "engine/ops/append_kv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace keyhole {
namespace {

// Nearest bf16 by search among neighbours in f64, ties to the even one.
float NearestBf16(float x) {
  const std::uint32_t low = std::bit_cast<std::uint32_t>(x) & 0xFFFF0000;
  const float a = std::bit_cast<float>(low);
  const float b = std::bit_cast<float>(low + 0x10000);
  const double to_a = std::fabs(static_cast<double>(x) - a);
  const double to_b = std::isinf(b) ? std::fabs(static_cast<double>(x) - std::copysign(0x1p128, x))
                                    : std::fabs(static_cast<double>(x) - b);
  if (to_a != to_b) return to_a < to_b ? a : b;
  return (low >> 16) % 2 == 0 ? a : b;
}

class AppendKvTest : public testing::TestWithParam<KvType> {
 protected:
  KvLayout layout_{
      .n_layers = 2, .n_kv_heads = 3, .head_dim = 8, .page_size = 16, .type = GetParam()};
  std::unique_ptr<HostStore> store_ = HostStore::Create(layout_, 16).value();

  float Element(PageId page, std::int32_t layer, std::int32_t slot, std::size_t i) const {
    const std::byte* at = store_->LayerRows(page, layer) + slot * layout_.row_bytes();
    if (layout_.type == KvType::kF32) {
      float x;
      std::memcpy(&x, at + i * 4, 4);
      return x;
    }
    std::uint16_t bits;
    std::memcpy(&bits, at + i * 2, 2);
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }
  float Expected(float x) const { return layout_.type == KvType::kF32 ? x : NearestBf16(x); }
};

TEST_P(AppendKvTest, WritesRowsOfSeveralSequencesAcrossPages) {
  Device device(2);
  const std::vector<PageId> pages_a = {5, 1, 9, 3, 0, 7};
  const std::vector<PageId> pages_b = {2, 4};
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const std::size_t n = layout_.kv_size();
  std::vector<float> k(80 * n), v(80 * n);
  for (float& x : k) x = normal(random);
  for (float& x : v) x = normal(random);
  const AppendKvParams params[] = {
      {store_.get(), 1, pages_a, 13, 79, k.data(), v.data()},
      {store_.get(), 1, pages_b, 15, 1, k.data() + 79 * n, v.data() + 79 * n}};
  AppendKv(device, params);
  for (std::int32_t token = 0; token < 80; ++token) {
    const std::int32_t row = token < 79 ? 13 + token : 15;
    const PageId page = token < 79 ? pages_a[row / 16] : pages_b[row / 16];
    for (std::size_t i = 0; i < n; ++i) {
      ASSERT_EQ(Element(page, 1, row % 16, i), Expected(k[token * n + i])) << token;
      ASSERT_EQ(Element(page, 1, row % 16, n + i), Expected(v[token * n + i])) << token;
    }
  }
  EXPECT_EQ(Element(5, 1, 12, 0), 0);  // the row before
  EXPECT_EQ(Element(5, 0, 13, 0), 0);  // the other layer
}

TEST_P(AppendKvTest, RoundsSpecialValues) {
  Device device(1);
  const float inf = std::numeric_limits<float>::infinity();
  std::vector<float> k(24, 0.0F), v(24, 0.0F);
  const float special[] = {0.0F,
                           -0.0F,
                           inf,
                           -inf,
                           std::bit_cast<float>(0x3F808000U),  // ties
                           std::bit_cast<float>(0x3F818000U),
                           std::bit_cast<float>(0x3F808001U),
                           std::bit_cast<float>(0x00000001U),  // least subnormal
                           std::numeric_limits<float>::max(),
                           -1e-40F};
  std::copy(std::begin(special), std::end(special), k.begin());
  v[0] = std::bit_cast<float>(0x7F800001U);  // NaN whose upper half looks infinite
  v[1] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<PageId> pages = {0};
  const AppendKvParams params[] = {{store_.get(), 0, pages, 0, 1, k.data(), v.data()}};
  AppendKv(device, params);
  for (std::size_t i = 0; i < std::size(special); ++i) {
    const float expected = std::isinf(special[i]) ? special[i] : Expected(special[i]);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(Element(0, 0, 0, i)),
              std::bit_cast<std::uint32_t>(expected))
        << i;
  }
  EXPECT_TRUE(std::isnan(Element(0, 0, 0, 24)));
  EXPECT_TRUE(std::isnan(Element(0, 0, 0, 25)));
}

TEST_P(AppendKvTest, RefusesRowsOutsideThePageTable) {
  Device device(1);
  const std::vector<float> x(24 * 2, 1.0F);
  const std::vector<PageId> pages = {0};
  const AppendKvParams params[] = {{store_.get(), 0, pages, 15, 2, x.data(), x.data()}};
  EXPECT_THROW(AppendKv(device, params), std::logic_error);
}

// One row of one head of 8 in int8, read back.
std::vector<float> ThroughInt8(const std::vector<float>& key) {
  Device device(1);
  const KvLayout layout = {
      .n_layers = 1, .n_kv_heads = 1, .head_dim = 8, .page_size = 16, .type = KvType::kInt8};
  const auto store = HostStore::Create(layout, 1).value();
  const std::vector<float> zeros(8, 0.0F);
  const std::vector<PageId> pages = {0};
  const AppendKvParams params[] = {{store.get(), 0, pages, 3, 1, zeros.data(), key.data()}};
  AppendKv(device, params);
  const std::byte* at = store->LayerRows(0, 0) + 3 * layout.row_bytes() + layout.key_bytes();
  float scale = 0;
  std::memcpy(&scale, at + 8, sizeof(scale));
  std::vector<float> values;
  for (int i = 0; i < 8; ++i) {
    values.push_back(scale * static_cast<float>(std::to_integer<std::int8_t>(at[i])));
  }
  return values;
}

TEST(AppendKvInt8Test, HalfAStepIsTheLargestError) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 5);
  for (int turn = 0; turn < 100; ++turn) {
    std::vector<float> key(8);
    float top = 0;
    for (float& x : key) {
      x = normal(random);
      top = std::max(top, std::fabs(x));
    }
    const std::vector<float> values = ThroughInt8(key);
    for (int i = 0; i < 8; ++i) EXPECT_NEAR(values[i], key[i], top / 254 * 1.0001F);
  }
}

TEST(AppendKvInt8Test, ZerosStayAndWhatIsNotFiniteIsFound) {
  EXPECT_THAT(ThroughInt8({0, -0.0F, 0, 0, 0, 0, 0, 0}), testing::Each(0.0F));
  EXPECT_THAT(ThroughInt8({1e-42F, 0, 0, 0, 0, 0, 0, 0}),
              testing::Each(testing::FloatNear(0, 1e-41F)));
  for (const float bad :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_THAT(ThroughInt8({1, 2, bad, 3, 4, 5, 6, 7}), testing::Each(testing::IsNan()));
  }
}

INSTANTIATE_TEST_SUITE_P(Types,
                         AppendKvTest,
                         testing::Values(KvType::kF32, KvType::kBF16),
                         [](const auto& test) {
                           return test.param == KvType::kF32 ? "f32" : "bf16";
                         });

}  // namespace
}  // namespace keyhole
