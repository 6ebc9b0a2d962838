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

  static inline unsigned MaskBits(I mask) {
    return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
  }
};

}  // namespace
}  // namespace keyhole
