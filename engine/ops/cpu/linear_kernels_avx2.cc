// Kernels of Linear for AVX2, FMA and F16C.
#include <immintrin.h>

#include "engine/ops/cpu/linear_dot_avx2.h"
#include "engine/ops/cpu/linear_kernels_impl.h"
#include "engine/ops/cpu/linear_open_avx2.h"
#include "engine/ops/cpu/load_narrow_avx2.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx2 : Vectors8, LoadNarrowAvx2 {
  using V = Vectors8::V;
  using I = Vectors8::I;
  static constexpr int kMaxRows = 6;
  static constexpr int kMaxRowsInt8 = 4;
  static constexpr int kRowsAtOnce = 4;
  static constexpr int kPanelsOneRow = 1;
  static constexpr int kSums = 12;  // registers that hold sums

  static inline V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static inline V LoadHalf(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static inline void StoreBytes(I q, signed char* to) {
    const __m256i all = reinterpret_cast<__m256i>(q);
    const __m128i words =
        _mm_packs_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packs_epi16(words, words));
  }

  template <int kBits, int kRows>
  static inline __attribute__((always_inline)) void DotBlock(const unsigned char* codes,
                                                             const int32_t* x,
                                                             const int32_t* start,
                                                             V (*out)[2]) {
    __m256i high[kRows][2];
    BlockDot<kRows> dot;
    if constexpr (kBits == 4) {
      dot.FourBits(codes, x);
    } else {
      dot.template Nibbles<true>(codes, x);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kRows; ++i) high[i / 2][i % 2] = SumPairs(dot.sums[i / 2][i % 2], 16);
      // Leaves the registers to the low nibbles.
      if constexpr (kRows > 1) asm("" : "+m"(high));
      dot.template Nibbles<false>(codes, x);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 2 * kRows; ++i) {
      __m256i sum =
          _mm256_add_epi32(SumPairs(dot.sums[i / 2][i % 2], 1), _mm256_set1_epi32(start[i / 2]));
      if constexpr (kBits == 8) sum = _mm256_add_epi32(sum, high[i / 2][i % 2]);
      out[i / 2][i % 2] = _mm256_cvtepi32_ps(sum);
    }
  }
};

template <bool kOffsets>
void OpenPanels(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
  return w.zero == 0 ? OpenKernel<kOffsets, false>::Run(w, tiles, out)
                     : OpenKernel<kOffsets, true>::Run(w, tiles, out);
}

void TileByTile(const LinearPanels& w, const LinearTiles& tiles, LinearOutput out) {
  for (int64_t t = 0; t < tiles.n_tiles; ++t) {
    LinearKernelsImpl<Avx2>::Int8(w, tiles.tiles[t], out);
    out.data += tiles.tiles[t].n_rows * out.stride;
  }
}

void Int8Tiles(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
  constexpr int64_t kEnough = 4;  // tiles that make up for laying codes open
  if (w.code_bits != 4 || tiles.n_tiles < kEnough) return TileByTile(w, tiles, out);
  w.has_offsets ? OpenPanels<true>(w, tiles, out) : OpenPanels<false>(w, tiles, out);
  const int64_t n_whole = w.n_columns / kPanelColumns;
  const int64_t column = n_whole * kPanelColumns;
  if (column == w.n_columns) return;
  LinearPanels last = w;  // partly filled
  last.data += n_whole * w.panel_bytes;
  last.n_columns -= column;
  if (w.bias != nullptr) last.bias += column;
  TileByTile(last, tiles, {out.data + column, out.stride});
}

}  // namespace

LinearKernels LinearKernelsAvx2() {
  LinearKernels kernels = LinearKernelsImpl<Avx2>::Set();
  kernels.int8_tiles = Int8Tiles;
  return kernels;
}

}  // namespace keyhole
