// Sums across the lanes of eight vectors at once.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

struct SumRowsAvx2 {
  using V = VectorTypes<8>::V;

  // Lane r: the sum of rows[r].
  static inline V SumRows(const V* rows) {
    const __m256 a =
        _mm256_hadd_ps(_mm256_hadd_ps(rows[0], rows[1]), _mm256_hadd_ps(rows[2], rows[3]));
    const __m256 b =
        _mm256_hadd_ps(_mm256_hadd_ps(rows[4], rows[5]), _mm256_hadd_ps(rows[6], rows[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
  }
};

}  // namespace
}  // namespace keyhole
