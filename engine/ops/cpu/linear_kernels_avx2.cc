// Kernels of Linear for AVX2, FMA and F16C.
#include <immintrin.h>

#include "engine/ops/cpu/linear_dot_pairs.h"
#include "engine/ops/cpu/linear_kernels_impl.h"
#include "engine/ops/cpu/linear_open_avx2.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx2Bytes {
  using B = __m256i;
  using V = Vectors8::V;

  static inline B Load(const unsigned char* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static inline B LowNibbles(B b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }
  static inline B HighNibbles(B b) { return LowNibbles(_mm256_srli_epi16(b, 4)); }
  static inline B MulPairs(B codes, B x) { return _mm256_maddubs_epi16(codes, x); }
  static inline B SumPairs(B b, short times) {
    return _mm256_madd_epi16(b, _mm256_set1_epi16(times));
  }
  static inline B Add16(B a, B b) { return _mm256_add_epi16(a, b); }
  static inline B Add32(B a, B b) { return _mm256_add_epi32(a, b); }
  static inline B Set32(int x) { return _mm256_set1_epi32(x); }
  static inline V ToFloat(B b) { return _mm256_cvtepi32_ps(b); }
  // Or all products of a block are made, and spilled, before any is added.
  static inline void Keep(B& b) { asm("" : "+x"(b)); }
};

struct Avx2 : Vectors8, PairDot<Avx2Bytes, 2> {
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
};

template <int kBits, bool kOffsets>
void OpenPanels(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
  return w.zero == 0 ? OpenKernel<kBits, kOffsets, false>::Run(w, tiles, out)
                     : OpenKernel<kBits, kOffsets, true>::Run(w, tiles, out);
}

// What lies in a panel that is partly filled is multiplied tile by tile.
void Int8Tiles(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
  if (w.code_bits == 4) {
    w.has_offsets ? OpenPanels<4, true>(w, tiles, out) : OpenPanels<4, false>(w, tiles, out);
  } else {
    w.has_offsets ? OpenPanels<8, true>(w, tiles, out) : OpenPanels<8, false>(w, tiles, out);
  }
  const int64_t done = w.n_columns / kPanelColumns;
  const int64_t column = done * kPanelColumns;
  if (column == w.n_columns) return;
  LinearPanels last = w;
  last.data += done * w.panel_bytes;
  last.n_columns -= column;
  if (w.bias != nullptr) last.bias += column;
  LinearOutput to = {out.data + column, out.stride};
  for (int64_t t = 0; t < tiles.n_tiles; ++t) {
    LinearKernelsImpl<Avx2>::Int8(last, tiles.tiles[t], to);
    to.data += tiles.tiles[t].n_rows * out.stride;
  }
}

}  // namespace

LinearKernels LinearKernelsAvx2() {
  LinearKernels kernels = LinearKernelsImpl<Avx2>::Set();
  kernels.int8_tiles = Int8Tiles;
  return kernels;
}

}  // namespace keyhole
