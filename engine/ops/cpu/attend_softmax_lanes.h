// The softmax of sixteen lanes over a tile's rows, whose weights become pairs of bf16. For AVX-512
// with BF16.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/ops/cpu/bf16_math.h"

namespace keyhole {
namespace {

// Sixteen lanes of a tile.
struct LaneScores {
  float* scores;  // row j at scores + j * stride
  ptrdiff_t stride;
  int n_rows;
  int padded_rows;         // even; rows from n_rows on get weights of 0
  const int32_t* visible;  // [16], rows that a lane sees; null: all
  __m512 scale;            // of the scores
  __m512 bias;
};

// Of row j, before the scale; minus infinity in lanes that do not see it.
template <bool kMasked>
inline __m512 ScoresOf(const LaneScores& t, int j) {
  const __m512 scores = _mm512_loadu_ps(t.scores + j * t.stride);
  if constexpr (!kMasked) return scores;
  const __mmask16 seen =
      _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(t.visible), _mm512_set1_epi32(j));
  return _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), seen, scores);
}

// Four maxima side by side, since each waits for its last.
template <bool kMasked>
__m512 LargestOf(const LaneScores& t) {
  constexpr int kChains = 4;
  __m512 tops[kChains];
#pragma GCC unroll 4
  for (__m512& top : tops) top = _mm512_set1_ps(-__builtin_inff());
  int j = 0;
  for (; j + kChains <= t.n_rows; j += kChains) {
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) tops[i] = _mm512_max_ps(tops[i], ScoresOf<kMasked>(t, j + i));
  }
  for (; j < t.n_rows; ++j) tops[0] = _mm512_max_ps(tops[0], ScoresOf<kMasked>(t, j));
  return _mm512_max_ps(_mm512_max_ps(tops[0], tops[1]), _mm512_max_ps(tops[2], tops[3]));
}

// How the largest score of some rows moves a running softmax of sixteen lanes.
struct LaneShift {
  LaneShift(__m512 largest, __m512 scale, __m512 bias, float* running_max) {
    const __m512 old_max = _mm512_loadu_ps(running_max);
    const __m512 top = _mm512_max_ps(old_max, _mm512_fmadd_ps(largest, scale, bias));
    // A lane that has seen nothing yet is shifted by nothing.
    const __mmask16 any = _mm512_cmpneq_ps_mask(top, _mm512_set1_ps(-__builtin_inff()));
    const __m512 shift = _mm512_maskz_mov_ps(any, top);
    offset = _mm512_sub_ps(bias, shift);
    correction = PowerOfTwo(_mm512_sub_ps(old_max, shift));
    _mm512_storeu_ps(running_max, top);
  }

  // `sum`: of the rows' weights.
  void AddTo(float* running_sum, __m512 sum) const {
    _mm512_storeu_ps(running_sum, _mm512_fmadd_ps(_mm512_loadu_ps(running_sum), correction, sum));
  }

  __m512 offset;      // of scores * scale
  __m512 correction;  // of earlier sums
};

// Scores become pairs of weights, of rows 2i and 2i + 1 in row i; the running maxima and sums
// advance. Returns what earlier sums of values are multiplied by.
template <bool kMasked>
__m512 SoftmaxLanesOf(const LaneScores& t, float* running_max, float* running_sum) {
  const __m512 zero = _mm512_setzero_ps();
  const LaneShift shift(LargestOf<kMasked>(t), t.scale, t.bias, running_max);
  const __m512i interleave = Interleave();
  __m512 sum = zero;
  for (int j = 0; j < t.n_rows; j += 2) {
    const __m512 low = PowerOfTwo(_mm512_fmadd_ps(ScoresOf<kMasked>(t, j), t.scale, shift.offset));
    __m512 high = zero;
    if (j + 1 < t.n_rows) {
      high = PowerOfTwo(_mm512_fmadd_ps(ScoresOf<kMasked>(t, j + 1), t.scale, shift.offset));
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
    _mm512_storeu_si512(t.scores + j / 2 * t.stride, RoundToPairs(low, high, interleave));
  }
  for (int j = (t.n_rows + 1) / 2 * 2; j < t.padded_rows; j += 2) {
    _mm512_storeu_ps(t.scores + j / 2 * t.stride, zero);
  }
  shift.AddTo(running_sum, sum);
  return shift.correction;
}

inline __m512 SoftmaxLanes(const LaneScores& t, float* running_max, float* running_sum) {
  return t.visible == nullptr ? SoftmaxLanesOf<false>(t, running_max, running_sum)
                              : SoftmaxLanesOf<true>(t, running_max, running_sum);
}

}  // namespace
}  // namespace keyhole
