// Eight numbers of bf16 or codes as f32, for VectorMath: compilers widen the first in halves and
// the second one by one.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct LoadNarrowAvx2 {
  static inline VectorTypes<8>::V LoadBf16(const Bf16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static inline VectorTypes<8>::V LoadInt8(const Int8* p) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
  }
};

}  // namespace
}  // namespace keyhole
