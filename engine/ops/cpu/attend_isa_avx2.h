// Vectors of eight for the attention kernels.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/load_narrow_avx2.h"
#include "engine/ops/cpu/sum_rows_avx2.h"

namespace keyhole {
namespace {

struct Avx2 : SumRowsAvx2, LoadNarrowAvx2 {
  static constexpr int kWidth = 8;
  static constexpr int kFewVectors = 2;
  static constexpr int kManyVectors = 2;

  static inline V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static inline bool All(VectorTypes<8>::I mask) {
    return _mm256_movemask_ps(reinterpret_cast<__m256>(mask)) == 0xff;
  }
  static inline float SumOf(V v) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(pair, _mm_movehdup_ps(pair)));
  }
  static inline float MaxOf(V v) {
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 pair = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(pair, _mm_movehdup_ps(pair)));
  }
};

}  // namespace
}  // namespace keyhole
