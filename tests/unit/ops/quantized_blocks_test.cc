#include "engine/ops/quantized_blocks.h"

#include <array>
#include <cstring>
#include <vector>

#include "engine/ops/half_float.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace keyhole {
namespace {

using ::testing::Each;

struct SplitResult {
  std::vector<int> codes;
  std::vector<float> scales;
  std::vector<float> offsets;
};

SplitResult Split(QuantizedEncoding encoding, const std::vector<std::uint8_t>& bytes) {
  const QuantizedTraits& traits = TraitsOf(encoding);
  EXPECT_EQ(bytes.size() % traits.block_bytes, 0);
  const std::size_t n = bytes.size() / traits.block_bytes * traits.block_size;
  std::vector<std::uint8_t> codes(n);
  SplitResult result = {{}, std::vector<float>(n / 32), std::vector<float>(n / 32)};
  SplitRow(encoding,
           reinterpret_cast<const std::byte*>(bytes.data()),
           {codes, result.scales, result.offsets});
  result.codes.assign(codes.begin(), codes.end());
  return result;
}

void AppendHalf(std::vector<std::uint8_t>& bytes, float value) {
  const std::uint16_t half = Float32ToHalf(value);
  bytes.push_back(half & 0xFF);
  bytes.push_back(half >> 8);
}

// Nibbles of byte i: i and 15 - i.
void AppendNibbles(std::vector<std::uint8_t>& bytes) {
  for (int i = 0; i < 16; ++i) bytes.push_back(static_cast<std::uint8_t>(i | ((15 - i) << 4)));
}

TEST(QuantizedBlocks, Q4_1) {
  std::vector<std::uint8_t> bytes;
  for (const float scale : {0.5F, 2.0F}) {
    AppendHalf(bytes, scale);
    AppendHalf(bytes, -3 * scale);
    AppendNibbles(bytes);
  }
  const SplitResult got = Split(QuantizedEncoding::kQ4_1, bytes);
  EXPECT_EQ(got.scales, (std::vector<float>{0.5F, 2.0F}));
  EXPECT_EQ(got.offsets, (std::vector<float>{-1.5F, -6.0F}));
  for (int i = 0; i < 64; ++i) EXPECT_EQ(got.codes[i], i % 32 < 16 ? i % 16 : 15 - i % 16);
}

TEST(QuantizedBlocks, Q5_0FifthBits) {
  std::vector<std::uint8_t> bytes;
  AppendHalf(bytes, 1);
  for (const int byte : {0x01, 0x80, 0x00, 0xC0}) bytes.push_back(byte);  // values 0, 15, 30, 31
  for (int i = 0; i < 16; ++i) bytes.push_back(0);
  const SplitResult got = Split(QuantizedEncoding::kQ5_0, bytes);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(got.codes[i], i == 0 || i == 15 || i >= 30 ? 16 : 0) << i;
  EXPECT_EQ(TraitsOf(QuantizedEncoding::kQ5_0).zero, 16);
}

TEST(QuantizedBlocks, Q8_0IsShiftedBy128) {
  std::vector<std::uint8_t> bytes;
  AppendHalf(bytes, 0.25F);
  for (int i = 0; i < 32; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 8 - 128));
  const SplitResult got = Split(QuantizedEncoding::kQ8_0, bytes);
  for (int i = 0; i < 32; ++i) EXPECT_EQ(got.codes[i], i * 8);
}

// Packs 6-bit scales and minima by the specification: (scale, minimum) of group j in the low 6 bits
// of bytes j and j + 4 for j < 4; for j >= 4 low nibbles in byte j + 4 and the high 2 bits at the
// top of bytes j - 4 and j.
std::array<std::uint8_t, 12> PackScales(const std::array<int, 8>& scales,
                                        const std::array<int, 8>& minima) {
  std::array<std::uint8_t, 12> packed = {};
  for (int j = 0; j < 4; ++j) {
    packed[j] = static_cast<std::uint8_t>(scales[j] | (scales[j + 4] >> 4 << 6));
    packed[j + 4] = static_cast<std::uint8_t>(minima[j] | (minima[j + 4] >> 4 << 6));
    packed[j + 8] = static_cast<std::uint8_t>((scales[j + 4] & 15) | ((minima[j + 4] & 15) << 4));
  }
  return packed;
}

TEST(QuantizedBlocks, Q4_KAndQ5_KScales) {
  const std::array<int, 8> scales = {1, 63, 17, 32, 48, 15, 63, 33};
  const std::array<int, 8> minima = {63, 0, 31, 7, 16, 62, 1, 47};
  for (const auto encoding : {QuantizedEncoding::kQ4_K, QuantizedEncoding::kQ5_K}) {
    std::vector<std::uint8_t> bytes;
    AppendHalf(bytes, 0.5F);
    AppendHalf(bytes, 0.25F);
    for (const std::uint8_t byte : PackScales(scales, minima)) bytes.push_back(byte);
    bytes.resize(TraitsOf(encoding).block_bytes, 0xFF);
    const SplitResult got = Split(encoding, bytes);
    for (int j = 0; j < 8; ++j) {
      EXPECT_EQ(got.scales[j], 0.5F * static_cast<float>(scales[j]));
      EXPECT_EQ(got.offsets[j], -0.25F * static_cast<float>(minima[j]));
    }
    EXPECT_THAT(got.codes, Each(encoding == QuantizedEncoding::kQ4_K ? 15 : 31));
  }
}

TEST(QuantizedBlocks, Q5_KPlaces) {
  std::vector<std::uint8_t> bytes(176, 0);
  bytes[16 + 3] = 1 << 6;          // fifth bit of value 3 of group 6
  bytes[48 + 32 * 2 + 9] = 0xA0;   // value 9 of group 5
  bytes[48 + 32 * 3 + 31] = 0x07;  // value 31 of group 6
  const SplitResult got = Split(QuantizedEncoding::kQ5_K, bytes);
  std::vector<int> want(256, 0);
  want[6 * 32 + 3] = 16;
  want[5 * 32 + 9] = 10;
  want[6 * 32 + 31] = 7;
  EXPECT_EQ(got.codes, want);
}

}  // namespace
}  // namespace keyhole
