#include "engine/ops/quantized_blocks.h"

#include <array>
#include <cstring>

#include "engine/ops/half_float.h"

namespace keyhole {
namespace {

using Byte = std::uint8_t;

constexpr int kGroup = 32;  // values that share a scale

constexpr std::array<QuantizedTraits, 7> kTraits = {{
    {32, 18, 4, 8, true, false},    // Q4_0
    {32, 20, 4, 0, true, true},     // Q4_1
    {32, 22, 8, 16, true, false},   // Q5_0
    {32, 24, 8, 0, true, true},     // Q5_1
    {32, 34, 8, 128, true, false},  // Q8_0
    {256, 144, 4, 0, false, true},  // Q4_K
    {256, 176, 8, 0, false, true},  // Q5_K
}};

float LoadHalf(const Byte* p) {
  std::uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof(bits));
  return HalfToFloat32(bits);
}

// Value i is in the low nibble of byte i, value i + 16 in its high nibble.
void SplitNibbles(const Byte* nibbles, Byte* codes) {
  for (int i = 0; i < 16; ++i) {
    codes[i] = nibbles[i] & 0xFU;
    codes[i + 16] = nibbles[i] >> 4;
  }
}

// Bit i of a little-endian word is bit 4 of value i.
void AddFifthBits(const Byte* high, Byte* codes) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, high, sizeof(bits));
  for (int i = 0; i < kGroup; ++i) codes[i] |= static_cast<Byte>(((bits >> i) & 1U) << 4);
}

struct Group {
  Byte* codes;
  float* scales;
  float* offsets;
};

// [d: f16][m: f16 if offsets][32 fifth bits if 5-bit][16 bytes of nibbles]
template <bool kHasOffset, bool kFiveBits>
void SplitSmallBlock(const Byte* in, const Group& out) {
  out.scales[0] = LoadHalf(in);
  in += 2;
  if constexpr (kHasOffset) {
    out.offsets[0] = LoadHalf(in);
    in += 2;
  }
  SplitNibbles(in + (kFiveBits ? 4 : 0), out.codes);
  if constexpr (kFiveBits) AddFifthBits(in, out.codes);
}

// [d: f16][32 signed bytes]
void SplitQ8_0(const Byte* in, const Group& out) {
  out.scales[0] = LoadHalf(in);
  for (int i = 0; i < kGroup; ++i) out.codes[i] = static_cast<Byte>(in[2 + i] ^ 0x80U);
}

// [d: f16][dmin: f16][12 bytes: 6-bit scales and minima][32 bytes of fifth bits if 5-bit][128
// bytes: groups 2j and 2j + 1 in the nibbles of 32]. Groups 0-3 keep scale and minimum in bytes of
// their own; groups 4-7 keep the low bits in bytes 8-11 and the two high bits above those of groups
// 0-3.
template <bool kFiveBits>
void SplitSuperBlock(const Byte* in, const Group& out) {
  const float d = LoadHalf(in);
  const float d_min = LoadHalf(in + 2);
  const Byte* packed = in + 4;
  const Byte* high = in + 16;
  const Byte* nibbles = high + (kFiveBits ? 32 : 0);
  for (int group = 0; group < 8; ++group) {
    int scale = packed[group % 4 + (group < 4 ? 0 : 8)];
    int minimum = packed[group % 4 + (group < 4 ? 4 : 8)];
    if (group < 4) {
      scale &= 0x3F;
      minimum &= 0x3F;
    } else {
      scale = (scale & 0xF) | ((packed[group - 4] >> 6) << 4);
      minimum = (minimum >> 4) | ((packed[group] >> 6) << 4);
    }
    out.scales[group] = d * static_cast<float>(scale);
    out.offsets[group] = -(d_min * static_cast<float>(minimum));
    for (int i = 0; i < kGroup; ++i) {
      Byte code = (nibbles[kGroup * (group / 2) + i] >> (4 * (group % 2))) & 0xFU;
      if constexpr (kFiveBits) code |= static_cast<Byte>(((high[i] >> group) & 1U) << 4);
      out.codes[kGroup * group + i] = code;
    }
  }
}

using BlockSplitter = void (*)(const Byte*, const Group&);

constexpr std::array<BlockSplitter, 7> kSplitters = {
    SplitSmallBlock<false, false>,
    SplitSmallBlock<true, false>,
    SplitSmallBlock<false, true>,
    SplitSmallBlock<true, true>,
    SplitQ8_0,
    SplitSuperBlock<false>,
    SplitSuperBlock<true>,
};

}  // namespace

const QuantizedTraits& TraitsOf(QuantizedEncoding encoding) {
  return kTraits[static_cast<std::size_t>(encoding)];
}

void SplitRow(QuantizedEncoding encoding, const std::byte* row, const QuantizedRow& out) {
  const QuantizedTraits& traits = TraitsOf(encoding);
  const BlockSplitter split = kSplitters[static_cast<std::size_t>(encoding)];
  const auto* in = reinterpret_cast<const Byte*>(row);
  const std::size_t n_blocks = out.codes.size() / static_cast<std::size_t>(traits.block_size);
  const std::size_t groups = static_cast<std::size_t>(traits.block_size) / kGroup;
  for (std::size_t b = 0; b < n_blocks; ++b, in += traits.block_bytes) {
    split(in,
          {out.codes.data() + b * traits.block_size,
           out.scales.data() + b * groups,
           traits.has_offsets ? out.offsets.data() + b * groups : nullptr});
  }
}

}  // namespace keyhole
