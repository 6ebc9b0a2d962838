// What both levels of AVX-512 share in the selection kernels.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/sum_rows_avx512.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct SelectionVectors16 : SumRowsAvx512 {
  static constexpr int kWidth = 16;
  static constexpr int kMaxQueries = 8;
  using I = VectorTypes<kWidth>::I;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline V Larger(V a, V b) { return _mm512_max_ps(a, b); }

  // Lane r: the largest of rows[r].
  static inline I LargestOfRows(const I* rows) {
    __m512i quarters[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i a = LargerPairs(rows[4 * i], rows[4 * i + 1]);
      const __m512i b = LargerPairs(rows[4 * i + 2], rows[4 * i + 3]);
      quarters[i] = _mm512_max_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
    }
    return reinterpret_cast<I>(LargerHalves(LargerHalves(quarters[0], quarters[1]),
                                            LargerHalves(quarters[2], quarters[3])));
  }
  static inline __m512i LargerPairs(I a, I b) {
    const auto x = reinterpret_cast<__m512i>(a);
    const auto y = reinterpret_cast<__m512i>(b);
    return _mm512_max_epi32(_mm512_unpacklo_epi32(x, y), _mm512_unpackhi_epi32(x, y));
  }
  static inline __m512i LargerHalves(__m512i a, __m512i b) {
    return _mm512_max_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  }

  static inline unsigned MaskBits(I mask) {
    return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
  }
};

}  // namespace
}  // namespace keyhole
