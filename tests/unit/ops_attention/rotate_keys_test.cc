#include "engine/ops/rotate_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tests/unit/ops_attention/kv_fixture.h"

namespace keyhole {
namespace {

class RotateKeysTest : public testing::TestWithParam<KvType> {
 protected:
  static constexpr std::int32_t kRows = 90;
  static constexpr std::int32_t kCapacity = 80;
  static constexpr std::int32_t kDim = 24;

  RotateKeysTest() : ring_bytes_(kCapacity * layout_.key_bytes()) {
    for (std::int32_t row = 0; row < kRows; ++row) {
      for (std::int32_t c = 0; c < kDim / 2; ++c) {
        cos_.push_back(static_cast<float>(std::cos(row * Frequency(c))));
        sin_.push_back(static_cast<float>(std::sin(row * Frequency(c))));
      }
    }
  }

  static double Frequency(std::int32_t c) { return std::pow(10000.0, -2.0 * c / kDim); }

  RotateKeysParams Params(RowRange rows) {
    return {.store = kv_.store.get(),
            .layer = 0,
            .pages = kv_.pages,
            .rows = rows,
            .table = {cos_.data(), sin_.data()},
            .ring = {ring_bytes_.data(), kCapacity, layout_.key_bytes()}};
  }

  float KeyInRing(std::int32_t row, std::size_t i) {
    const std::byte* at = Params({}).ring.Row(row);
    if (layout_.type == KvType::kF32) return reinterpret_cast<const float*>(at)[i];
    if (layout_.type == KvType::kInt8) {
      const std::byte* head = at + i / kDim * layout_.head_bytes();
      float scale = 0;
      std::memcpy(&scale, head + kDim, sizeof(scale));
      return scale * static_cast<float>(std::to_integer<std::int8_t>(head[i % kDim]));
    }
    const auto bits = reinterpret_cast<const std::uint16_t*>(at)[i];
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  }

  double Expected(std::int32_t row, std::size_t i) const {
    const std::size_t head = i / kDim * kDim;
    const std::size_t c = i % kDim;
    const std::size_t pair = c % (kDim / 2);
    const float* key = kv_.k.data() + row * layout_.kv_size() + head;
    const double angle = row * Frequency(static_cast<std::int32_t>(pair));
    const double a = key[pair];
    const double b = key[pair + kDim / 2];
    return c < kDim / 2 ? a * std::cos(angle) - b * std::sin(angle)
                        : b * std::cos(angle) + a * std::sin(angle);
  }

  KvLayout layout_{
      .n_layers = 1, .n_kv_heads = 3, .head_dim = kDim, .page_size = 16, .type = GetParam()};
  KvSequence kv_{layout_, kRows, 1};
  std::vector<float> cos_;
  std::vector<float> sin_;
  std::vector<std::byte> ring_bytes_;
  Device device_{2};
};

TEST_P(RotateKeysTest, EqualsTheFormula) {
  RotateKeys(device_, Params({13, 90}));
  const double tolerance = GetParam() == KvType::kF32 ? 1e-6
                           : GetParam() == KvType::kBF16
                               ? 0x1p-8
                               : 7.0 / 254;  // half a step of a large head
  for (std::int32_t row = 13; row < 90; ++row) {
    for (std::size_t i = 0; i < layout_.kv_size(); ++i) {
      const double expected = Expected(row, i);
      ASSERT_NEAR(KeyInRing(row, i), expected, tolerance * std::max(1.0, std::fabs(expected)));
    }
  }
}

TEST_P(RotateKeysTest, PiecesEqualTheWhole) {
  RotateKeys(device_, Params({13, 90}));
  const std::vector<std::byte> whole = ring_bytes_;
  std::fill(ring_bytes_.begin(), ring_bytes_.end(), std::byte{0});
  RotateKeys(device_, Params({80, 90}));
  RotateKeys(device_, Params({13, 14}));
  RotateKeys(device_, Params({14, 80}));
  for (std::int32_t row = 13; row < 90; ++row) {
    const std::size_t at = row % kCapacity * Params({}).ring.row_bytes;
    EXPECT_TRUE(std::equal(ring_bytes_.begin() + at,
                           ring_bytes_.begin() + at + Params({}).ring.row_bytes,
                           whole.begin() + at));
  }
}

TEST_P(RotateKeysTest, RefusesRowsThatDoNotFit) {
  EXPECT_THROW(RotateKeys(device_, Params({0, 81})), std::logic_error);
  EXPECT_THROW(RotateKeys(device_, Params({60, 97})), std::logic_error);
  RotateKeys(device_, Params({5, 5}));  // nothing to do
}

INSTANTIATE_TEST_SUITE_P(Types,
                         RotateKeysTest,
                         testing::Values(KvType::kF32, KvType::kBF16, KvType::kInt8),
                         [](const auto& test) { return KvTypeName(test.param); });

}  // namespace
}  // namespace keyhole
