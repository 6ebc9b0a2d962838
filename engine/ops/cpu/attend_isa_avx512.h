// Vectors of sixteen for the attention kernels.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/sum_rows_avx512.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct Avx512 : SumRowsAvx512 {
  static constexpr int kWidth = 16;
  static constexpr int kFewVectors = 4;
  static constexpr int kManyVectors = 4;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline bool All(VectorTypes<16>::I mask) {
    return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask)) == 0xffff;
  }
  // Compilers widen codes one by one.
  static inline V LoadInt8(const Int8* p) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
  }
  static inline float SumOf(V v) { return _mm512_reduce_add_ps(v); }
  static inline float MaxOf(V v) { return _mm512_reduce_max_ps(v); }
};

}  // namespace
}  // namespace keyhole
