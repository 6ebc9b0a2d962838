// Eight numbers of bf16 as f32, for VectorMath: compilers widen them in halves.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct LoadBf16Avx2 {
  static inline VectorTypes<8>::V LoadBf16(const Bf16* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
};

}  // namespace
}  // namespace keyhole
