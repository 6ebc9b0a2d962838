// Pairs of bf16, as tile and pair products take them, and a power of two for what becomes bf16. For
// AVX-512 with BF16.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// Word 2i from i, word 2i + 1 from 16 + i.
inline __m512i Interleave() {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_or_si512(lanes,
                         _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16));
}

// In each lane `low` rounded to bf16, and above it `high`.
inline __m512i RoundToPairs(__m512 low, __m512 high, __m512i interleave) {
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// The same of what is in bf16 already.
inline __m512i Pair(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

// 2^x for x <= 0, relative error 1e-4: far below what rounding to bf16 does. 0 where x is far
// below; no number where x is none, which is what the instruction then takes, its second operand.
inline __m512 PowerOfTwo(__m512 x) {
  const __m512 clamped = _mm512_max_ps(_mm512_set1_ps(-1000), x);
  const __m512 whole = _mm512_roundscale_ps(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(clamped, whole);
  __m512 p = _mm512_set1_ps(kRoughExp2[0]);
#pragma GCC unroll 3
  for (int k = 1; k < 4; ++k) p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(kRoughExp2[k]));
  return _mm512_scalef_ps(p, whole);
}

}  // namespace
}  // namespace keyhole
