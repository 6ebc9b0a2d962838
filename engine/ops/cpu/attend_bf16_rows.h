// Elements of KV rows in bf16. For AVX-512 with BF16.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// The first `n` bits; shorter masks are its lower parts.
inline __mmask64 FirstOnes(int n) {
  if (n <= 0) return 0;
  return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}

// Sixteen elements in bf16; zeros where the mask has none.
inline __m256i LoadBf16(const Bf16* in, __mmask16 mask, float) {
  return _mm256_maskz_loadu_epi16(mask, in);
}
inline __m256i LoadBf16(const Int8* in, __mmask16 mask, float scale) {
  const __m512i codes = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, in));
  const __m512 values = _mm512_mul_ps(_mm512_cvtepi32_ps(codes), _mm512_set1_ps(scale));
  return (__m256i)_mm512_cvtneps_pbh(values);
}

}  // namespace
}  // namespace keyhole
