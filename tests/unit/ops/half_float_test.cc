#include "engine/ops/half_float.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <bit>
#include <cmath>
#include <random>

#include "gtest/gtest.h"

namespace keyhole {
namespace {

// The oracle is LibTorch's conversion.
TEST(HalfFloat, EveryHalfConvertsExactly) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float want = static_cast<float>(c10::Half(half, c10::Half::from_bits()));
    const float got = HalfToFloat32(half);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
    } else {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(want)) << bits;
      EXPECT_EQ(Float32ToHalf(got), half);
    }
  }
}

TEST(HalfFloat, RoundsToNearestEven) {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    // Exponents around the range of f16, where the cases differ.
    const std::uint32_t bits = (random() & 0x807FFFFFU) | ((random() % 48 + 98) << 23);
    const auto value = std::bit_cast<float>(bits);
    ASSERT_EQ(Float32ToHalf(value), c10::Half(value).x) << bits;
    ASSERT_EQ(Float32ToBf16(value), c10::BFloat16(value).x) << bits;
  }
  for (const std::uint32_t bits : {0x7F800000U,
                                   0xFF800000U,
                                   0U,
                                   0x80000000U,
                                   1U,
                                   0x3F801000U,
                                   0x3F803000U,
                                   0x33000000U,
                                   0x33000001U,
                                   0x477FF000U,
                                   0x477FEFFFU,
                                   0x3F808000U}) {
    const auto value = std::bit_cast<float>(bits);
    EXPECT_EQ(Float32ToHalf(value), c10::Half(value).x) << bits;
    EXPECT_EQ(Float32ToBf16(value), c10::BFloat16(value).x) << bits;
  }
}

TEST(HalfFloat, NoNumberStaysNoNumber) {
  EXPECT_TRUE(std::isnan(HalfToFloat32(Float32ToHalf(std::nanf("")))));
  const std::uint32_t bits =
      static_cast<std::uint32_t>(Float32ToBf16(std::bit_cast<float>(0x7F800001U))) << 16;
  EXPECT_TRUE(std::isnan(std::bit_cast<float>(bits)));
}

}  // namespace
}  // namespace keyhole
