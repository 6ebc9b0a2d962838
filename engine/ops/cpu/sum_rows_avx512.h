// Sums across the lanes of sixteen vectors at once.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct SumRowsAvx512 {
  using V = VectorTypes<16>::V;

  static inline __m512 SumPairs(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  // Each group of four lanes: what is left to sum of four rows.
  static inline __m512 SumFour(const V* rows) {
    const __m512 a = SumPairs(rows[0], rows[1]);
    const __m512 b = SumPairs(rows[2], rows[3]);
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  static inline __m512 SumHalves(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  // Lane r: the sum of rows[r].
  static inline V SumRows(const V* rows) {
    return SumHalves(SumHalves(SumFour(rows), SumFour(rows + 4)),
                     SumHalves(SumFour(rows + 8), SumFour(rows + 12)));
  }
};

}  // namespace
}  // namespace keyhole
