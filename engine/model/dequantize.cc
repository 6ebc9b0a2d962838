// Decoders of ggml's block formats. Each value is formed by the same operations in the same order
// as in the `gguf` Python package, so the results are equal bit for bit.

#include <array>
#include <cstdint>
#include <cstring>

#include "engine/model/weight_source.h"
#include "engine/model/weight_type.h"
#include "engine/ops/half_float.h"

namespace keyhole {
namespace {

using Byte = std::uint8_t;

std::uint16_t LoadU16(const Byte* p) {
  std::uint16_t value = 0;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

float LoadHalf(const Byte* p) { return HalfToFloat32(LoadU16(p)); }

void DecodeF32(const Byte* in, float* out) { std::memcpy(out, in, sizeof(float)); }
void DecodeF16(const Byte* in, float* out) { *out = LoadHalf(in); }
void DecodeBF16(const Byte* in, float* out) { *out = Bf16ToFloat32(LoadU16(in)); }

// [d: f16][16 bytes: value i in the low, value i + 16 in the high nibble]
void DecodeQ4_0(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  const Byte* qs = in + 2;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((qs[i] & 0xF) - 8);
    out[i + 16] = d * static_cast<float>((qs[i] >> 4) - 8);
  }
}

// [d: f16][m: f16][16 bytes of nibbles]
void DecodeQ4_1(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  const float m = LoadHalf(in + 2);
  const Byte* qs = in + 4;
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(qs[i] & 0xF) + m;
    out[i + 16] = d * static_cast<float>(qs[i] >> 4) + m;
  }
}

// Fifth bits of 32 values: bit i of a little-endian word belongs to value i.
void Unpack5(const Byte* high, const Byte* nibbles, int* out) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, high, sizeof(bits));
  for (int i = 0; i < 16; ++i) {
    out[i] = static_cast<int>((nibbles[i] & 0xFU) | (((bits >> i) & 1U) << 4));
    out[i + 16] = static_cast<int>((nibbles[i] >> 4) | (((bits >> (i + 16)) & 1U) << 4));
  }
}

// [d: f16][32 fifth bits][16 bytes of nibbles]
void DecodeQ5_0(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  std::array<int, 32> q;
  Unpack5(in + 2, in + 6, q.data());
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i] - 16);
}

// [d: f16][m: f16][32 fifth bits][16 bytes of nibbles]
void DecodeQ5_1(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  const float m = LoadHalf(in + 2);
  std::array<int, 32> q;
  Unpack5(in + 4, in + 8, q.data());
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i]) + m;
}

// [d: f16][32 signed bytes]
void DecodeQ8_0(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(static_cast<std::int8_t>(in[2 + i])) * d;
  }
}

// Scale and minimum of the eight sub-blocks of Q4_K and Q5_K, 6 bits each, in 12 bytes: the first
// four have bytes of their own, the last four keep their low bits in bytes 8-11 and the high ones
// above those of the first four.
struct ScaleMin {
  int scale;
  int minimum;
};

ScaleMin LoadScaleMin(const Byte* packed, int sub_block) {
  if (sub_block < 4) return {packed[sub_block] & 0x3F, packed[sub_block + 4] & 0x3F};
  const Byte low = packed[sub_block + 4];
  return {(low & 0x0F) | ((packed[sub_block - 4] >> 2) & 0x30),
          (low >> 4) | ((packed[sub_block] >> 2) & 0x30)};
}

// [d: f16][dmin: f16][12 bytes of scales][128 bytes: sub-blocks 2j and 2j + 1 in the nibbles of 32]
void DecodeQ4_K(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  const float d_min = LoadHalf(in + 2);
  const Byte* qs = in + 16;
  for (int sub = 0; sub < 8; ++sub) {
    const ScaleMin packed = LoadScaleMin(in + 4, sub);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = d_min * static_cast<float>(packed.minimum);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = (qs[32 * (sub / 2) + i] >> shift) & 0xF;
      out[32 * sub + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

// [d: f16][dmin: f16][12 bytes of scales][32 bytes: bit `sub` is the fifth bit][128 bytes as Q4_K]
void DecodeQ5_K(const Byte* in, float* out) {
  const float d = LoadHalf(in);
  const float d_min = LoadHalf(in + 2);
  const Byte* qh = in + 16;
  const Byte* qs = in + 48;
  for (int sub = 0; sub < 8; ++sub) {
    const ScaleMin packed = LoadScaleMin(in + 4, sub);
    const float scale = d * static_cast<float>(packed.scale);
    const float minimum = d_min * static_cast<float>(packed.minimum);
    const int shift = 4 * (sub % 2);
    for (int i = 0; i < 32; ++i) {
      const int q = ((qs[32 * (sub / 2) + i] >> shift) & 0xF) | (((qh[i] >> sub) & 1) << 4);
      out[32 * sub + i] = scale * static_cast<float>(q) - minimum;
    }
  }
}

// [128 bytes of low nibbles][64 bytes of high bit pairs][16 signed scales][d: f16]
void DecodeQ6_K(const Byte* in, float* out) {
  const float d = LoadHalf(in + 208);
  const Byte* scales = in + 192;
  for (int sub = 0; sub < 8; ++sub) {  // 32 values, two scales
    const int half = sub / 4;
    const Byte* low = in + 64 * half + 32 * (sub % 2);
    const Byte* high = in + 128 + 32 * half;
    const int low_shift = 4 * ((sub % 4) / 2);
    const int high_shift = 2 * (sub % 4);
    const float scale[2] = {d * static_cast<float>(static_cast<std::int8_t>(scales[2 * sub])),
                            d * static_cast<float>(static_cast<std::int8_t>(scales[2 * sub + 1]))};
    for (int i = 0; i < 32; ++i) {
      const int q = (((low[i] >> low_shift) & 0xF) | (((high[i] >> high_shift) & 3) << 4)) - 32;
      out[32 * sub + i] = scale[i / 16] * static_cast<float>(q);
    }
  }
}

template <void (*DecodeBlock)(const Byte*, float*)>
void DecodeBlocks(const Byte* in, const WeightTypeInfo& info, std::span<float> out) {
  float* end = out.data() + out.size();
  for (float* p = out.data(); p != end; p += info.block_size, in += info.block_bytes) {
    DecodeBlock(in, p);
  }
}

using RowDecoder = void (*)(const Byte*, const WeightTypeInfo&, std::span<float>);

constexpr std::array<RowDecoder, 11> kDecoders = {
    DecodeBlocks<DecodeF32>,
    DecodeBlocks<DecodeF16>,
    DecodeBlocks<DecodeBF16>,
    DecodeBlocks<DecodeQ4_0>,
    DecodeBlocks<DecodeQ4_1>,
    DecodeBlocks<DecodeQ5_0>,
    DecodeBlocks<DecodeQ5_1>,
    DecodeBlocks<DecodeQ8_0>,
    DecodeBlocks<DecodeQ4_K>,
    DecodeBlocks<DecodeQ5_K>,
    DecodeBlocks<DecodeQ6_K>,
};

}  // namespace

void DequantizeRow(const WeightView& view, std::int64_t row, std::span<float> out) {
  DequantizeColumns(view, row, 0, out);
}

void DequantizeColumns(const WeightView& view,
                       std::int64_t row,
                       std::int64_t first_col,
                       std::span<float> out) {
  const WeightTypeInfo& info = InfoOf(view.type);
  const std::size_t at = static_cast<std::size_t>(row) * view.row_bytes() +
                         static_cast<std::size_t>(info.BytesOf(first_col));
  const auto* start = reinterpret_cast<const Byte*>(view.bytes.data());
  kDecoders[static_cast<std::size_t>(view.type)](start + at, info, out);
}

}  // namespace keyhole
