// Weighted sums of values for many queries by products of bytes, four of which are added in 16
// bits. Each row's values of one head have a scale of their own, which is multiplied into the row's
// weights; these are rounded to what four of them may sum up to. Part of attend_avx2.cc.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_isa_avx2.h"
#include "engine/ops/cpu/attend_many_avx2.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/pin_vector.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kMostValue = 127;

// Codes of four rows' values of one head: out [head_dim / 4][4] words, `stride` apart, a word: four
// rows of one dimension. `scales` are theirs.
template <class Element>
void ValueCodes(
    const Element* const* rows, int head_dim, ptrdiff_t stride, float* scales, int32_t* out) {
  using M = VectorMath<Avx2>;
  __m256 factors[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) factors[r] = CodeFactor(rows[r], head_dim, kMostValue, scales[r]);
  // Bytes are in the order of rows; of a word they are four rows of a dimension.
  const __m256i by_dimension = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  for (int c = 0; c < head_dim; c += 8) {
    __m256i codes[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      codes[r] = _mm256_cvtps_epi32(_mm256_mul_ps(M::Load(rows[r] + c), factors[r]));
    }
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(codes[0], codes[1]),
                                             _mm256_packs_epi32(codes[2], codes[3]));
    const __m256i words = _mm256_shuffle_epi8(bytes, by_dimension);
    int32_t* to = out + c / 4 * stride;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(words));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + stride), _mm256_extracti128_si256(words, 1));
  }
}

// Four dimensions of sixteen lanes: acc [4][16] = acc * correction + sums of codes * scale.
// `all_values` [rows / 4][4], `weights` [rows of the groups / 4][16].
inline void AddValues(const int32_t* all_values,
                      const int32_t* weights,
                      const RowGroups& groups,
                      const __m256 (&correction)[kBlockVectors],
                      const __m256 (&scale)[kBlockVectors],
                      float* acc) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i sums[4][kBlockVectors];
#pragma GCC unroll 4
  for (auto& row : sums) {
#pragma GCC unroll 2
    for (__m256i& sum : row) sum = _mm256_setzero_si256();
  }
  for (int k = 0; k < groups.n; ++k, weights += 2 * kBlockLanes) {
    const int32_t* values = all_values + groups.first_row(k);
    __m256i low[kBlockVectors];
    __m256i high[kBlockVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      low[v] = LoadWords(weights + v * kVectorLanes);
      high[v] = LoadWords(weights + kBlockLanes + v * kVectorLanes);
      Pin(low[v]);
      Pin(high[v]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256i first = SpreadWord(values + i);
      const __m256i second = SpreadWord(values + 4 + i);
#pragma GCC unroll 2
      for (int v = 0; v < kBlockVectors; ++v) {
        __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(low[v], first),
                                         _mm256_maddubs_epi16(high[v], second));
        Pin(pairs);
        sums[i][v] = _mm256_add_epi32(sums[i][v], _mm256_madd_epi16(pairs, ones));
        Pin(sums[i][v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kBlockVectors; ++v) {
      float* at = acc + i * kBlockLanes + v * kVectorLanes;
      const __m256 before = _mm256_mul_ps(_mm256_loadu_ps(at), correction[v]);
      _mm256_storeu_ps(at, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[i][v]), scale[v], before));
    }
  }
}

}  // namespace
}  // namespace keyhole
