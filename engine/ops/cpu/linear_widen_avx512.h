// Panels of weights as tiles of bf16. For AVX-512 with BF16.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/bf16_math.h"
#include "engine/ops/cpu/linear_kernels.h"
#include "engine/ops/cpu/tiles.h"

namespace keyhole {
namespace {

inline __m512 LoadScale(const unsigned char* p, bool half) {
  return half ? _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))
              : _mm512_loadu_ps(p);
}

// A code of kBits of each lane as 1 + code / 2^kBits, from `at` bits above the lowest.
template <int kBits, int at>
inline __attribute__((always_inline)) __m512 Fraction(__m512i codes) {
  constexpr int kMantissa = 23;
  constexpr int kShift = kMantissa - kBits - at;
  __m512i bits;
  if constexpr (kShift >= 0) {
    bits = _mm512_slli_epi32(codes, kShift);
  } else {
    bits = _mm512_srli_epi32(codes, -kShift);
  }
  constexpr int kMask = ((1 << kBits) - 1) << (kMantissa - kBits);
  constexpr int kMaskThenOr = 0xEA;
  return (__m512)_mm512_ternarylogic_epi32(
      bits, _mm512_set1_epi32(kMask), _mm512_set1_epi32(0x3F800000), kMaskThenOr);
}

// What fractions of a block's columns are multiplied by, and what is added, to give weights.
struct BlockScale {
  __m512 scale;
  __m512 offset;
};

inline BlockScale ScaleOfBlock(const LinearPanels& w, const unsigned char* scales) {
  const ptrdiff_t values = w.half_scales ? kPanelColumns * 2 : kPanelColumns * 4;
  const __m512 scale = LoadScale(scales, w.half_scales);
  __m512 offset = w.has_offsets ? LoadScale(scales + values, w.half_scales) : _mm512_setzero_ps();
  const int codes = 1 << w.code_bits;
  offset = _mm512_fnmadd_ps(scale, _mm512_set1_ps(static_cast<float>(codes + w.zero)), offset);
  return {_mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(codes))), offset};
}

template <int kBits, int at>
inline __attribute__((always_inline)) __m512i WeightPair(__m512i codes,
                                                         const BlockScale& s,
                                                         __m512i interleave) {
  const __m512 low = _mm512_fmadd_ps(Fraction<kBits, at>(codes), s.scale, s.offset);
  const __m512 high = _mm512_fmadd_ps(Fraction<kBits, at + 8>(codes), s.scale, s.offset);
  return RoundToPairs(low, high, interleave);
}

template <int kBits>
void WidenBlock(const unsigned char* codes, const BlockScale& s, __m512i interleave, char* to) {
#pragma GCC unroll 8
  for (int g = 0; g < kBits; ++g) {
    const __m512i raw = _mm512_loadu_si512(codes + 64 * g);
    char* row = to + 2 * 64 * g;
    _mm512_store_si512(row, WeightPair<kBits, 0>(raw, s, interleave));
    _mm512_store_si512(row + 64, WeightPair<kBits, 16>(raw, s, interleave));
    if constexpr (kBits == 4) {  // the high nibbles are four groups on
      row += 4 * 2 * 64;
      _mm512_store_si512(row, WeightPair<kBits, 4>(raw, s, interleave));
      _mm512_store_si512(row + 64, WeightPair<kBits, 20>(raw, s, interleave));
    }
  }
}

// 32 rows of sixteen bf16.
inline void PairBlock(const unsigned char* rows, char* to) {
  const auto* from = reinterpret_cast<const __m256i*>(rows);
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
    const __m256i low = _mm256_load_si256(from + 2 * i);
    const __m256i high = _mm256_load_si256(from + 2 * i + 1);
    _mm512_store_si512(to + 64 * i, Pair(low, high));
  }
}

// Of a panel along n_in.
struct BlockRange {
  int64_t first;
  int n;
};

// Blocks of one panel, each as a tile of [16 pairs along n_in][16 columns].
inline void WidenPanel(const LinearPanels& w,
                       int64_t panel,
                       const BlockRange& blocks,
                       char (*to)[kTileBytes]) {
  const unsigned char* data = w.data + panel * w.panel_bytes;
  const ptrdiff_t code_bytes = ptrdiff_t{kBlock} * kPanelColumns * w.code_bits / 8;
  const ptrdiff_t scale_bytes =
      ptrdiff_t{kPanelColumns} * (w.half_scales ? 2 : 4) * (w.has_offsets ? 2 : 1);
  const __m512i interleave = Interleave();
  for (int b = 0; b < blocks.n; ++b) {
    const unsigned char* codes = data + (blocks.first + b) * code_bytes;
    if (w.code_bits == 16) {
      PairBlock(codes, to[b]);
      continue;
    }
    const BlockScale s = ScaleOfBlock(w, data + w.scales_at + (blocks.first + b) * scale_bytes);
    if (w.code_bits == 4) {
      WidenBlock<4>(codes, s, interleave, to[b]);
    } else {
      WidenBlock<8>(codes, s, interleave, to[b]);
    }
  }
}

}  // namespace
}  // namespace keyhole
