// Vectors of sixteen for the attention kernels.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/sum_rows_avx512.h"

namespace keyhole {
namespace {

struct Avx512 : SumRowsAvx512 {
  static constexpr int kWidth = 16;
  static constexpr int kFewVectors = 4;
  static constexpr int kManyVectors = 4;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline float SumOf(V v) { return _mm512_reduce_add_ps(v); }
  static inline float MaxOf(V v) { return _mm512_reduce_max_ps(v); }
};

}  // namespace
}  // namespace keyhole
