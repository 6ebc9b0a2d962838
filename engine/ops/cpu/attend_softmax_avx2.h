// The softmax of eight lanes over a tile's rows, whose weights become bytes. Part of
// attend_avx2.cc.
#pragma once

#include <immintrin.h>
#include <stdint.h>

#include "engine/ops/cpu/attend_int8_values_avx2.h"
#include "engine/ops/cpu/attend_isa_avx2.h"
#include "engine/ops/cpu/attend_many_avx2.h"
#include "engine/ops/cpu/attend_row_groups.h"
#include "engine/ops/cpu/pin_vector.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

// x[i] = 2^(x[i] * scale), relative error 1e-4; x[i] * scale is from -100 to 0. Step by step for
// all four, since the processor looks too few instructions ahead to find the next chain by itself.
inline __attribute__((always_inline)) void PowersOfTwo(__m256 (&x)[4], __m256 scale) {
  const __m256 round = _mm256_set1_ps(kRound);
  __m256 shifted[4];
  __m256 p[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    shifted[i] = _mm256_fmadd_ps(x[i], scale, round);
    Pin(shifted[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    p[i] = _mm256_sub_ps(shifted[i], round);
    Pin(p[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    x[i] = _mm256_fmsub_ps(x[i], scale, p[i]);
    Pin(x[i]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    p[i] = _mm256_fmadd_ps(x[i], _mm256_set1_ps(kRoughExp2[0]), _mm256_set1_ps(kRoughExp2[1]));
    Pin(p[i]);
  }
#pragma GCC unroll 2
  for (int k = 2; k < 4; ++k) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      p[i] = _mm256_fmadd_ps(p[i], x[i], _mm256_set1_ps(kRoughExp2[k]));
      Pin(p[i]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted[i]), 23);
    x[i] = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p[i]), exponent));
    Pin(x[i]);
  }
}

struct LaneScores {
  float* scores;  // [rows][16], eight lanes of them; then codes, [rows of the groups / 4][16]
  const VectorTypes<8>::V* tops;  // of each group of rows, the largest
  const float* value_scales;      // [rows]
  __m256 scale;                   // of the scores
  __m256 bias;
};

// What sums of values are multiplied by: those of before, and those of the tile's codes.
struct TileFactors {
  __m256 correction;
  __m256 scale;
};

struct Weights {
  __m256 sum;
  __m256 largest;  // sum of what is added in 16 bits
};

// Scores of some groups become weights, multiplied by the scales of values.
inline Weights WeighRows(const LaneScores& t, const RowGroups& groups, __m256 top) {
  const __m256 lane_scale = _mm256_sub_ps(_mm256_setzero_ps(), t.scale);
  const __m256i most = _mm256_castps_si256(_mm256_div_ps(_mm256_set1_ps(100), t.scale));
  Weights w = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int k = 0; k < groups.n; ++k) {
    const float* value_scales = t.value_scales + groups.first_row(k);
    float* at = t.scores + static_cast<ptrdiff_t>(groups.first_row(k)) * kBlockLanes;
    __m256 low = _mm256_setzero_ps();
    __m256 high = low;
#pragma GCC unroll 2
    for (int half = 0; half < kRowGroup; half += 4, at += 4 * kBlockLanes) {
      __m256 weights[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const __m256 score = _mm256_loadu_ps(at + i * kBlockLanes);
        const __m256i d = _mm256_castps_si256(_mm256_sub_ps(top, score));
        // As unsigned integers, what is no number is above all others.
        weights[i] = _mm256_castsi256_ps(_mm256_min_epu32(d, most));
        Pin(weights[i]);
      }
      PowersOfTwo(weights, lane_scale);
      __m256 scaled[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        scaled[i] = _mm256_mul_ps(weights[i], _mm256_set1_ps(value_scales[half + i]));
        _mm256_storeu_ps(at + i * kBlockLanes, scaled[i]);
      }
      w.sum = _mm256_add_ps(w.sum,
                            _mm256_add_ps(_mm256_add_ps(weights[0], weights[1]),
                                          _mm256_add_ps(weights[2], weights[3])));
      low = _mm256_add_ps(low, _mm256_add_ps(scaled[0], scaled[1]));
      high = _mm256_add_ps(high, _mm256_add_ps(scaled[2], scaled[3]));
    }
    w.largest = _mm256_max_ps(w.largest, _mm256_max_ps(low, high));
  }
  return w;
}

// Added to the weights of a group's rows before they are rounded, which of very many light rows
// would leave nothing: so as many of them get a code as all of them weigh. Of rows that share a
// word it sums up to 0.
constexpr float kDither[kRowGroup] = {
    -7.0F / 16, -1.0F / 16, 3.0F / 16, 5.0F / 16, 7.0F / 16, 1.0F / 16, -3.0F / 16, -5.0F / 16};

// Weights of some groups become codes, four rows in a word, the groups side by side.
inline void RoundWeights(const LaneScores& t, const RowGroups& groups, __m256 to_code) {
  const __m256 round = _mm256_set1_ps(kRound);
  // Of the sum of four rounded weights' bits, what is not their codes.
  constexpr uint32_t kRoundBits = 0x4b400000;
  const __m256i rest = _mm256_set1_epi32(static_cast<int>(kRoundBits + (kRoundBits << 8)));
  constexpr int kWords = kRowGroup / 4;
  auto* out = reinterpret_cast<int32_t*>(t.scores);
  for (int k = 0; k < kWords * groups.n; ++k, out += kBlockLanes) {
    const int word = k % kWords;
    const int first = groups.first_row(k / kWords) + word * 4;
    const float* at = t.scores + static_cast<ptrdiff_t>(first) * kBlockLanes;
    __m256i codes[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m256 weight = _mm256_loadu_ps(at + i * kBlockLanes);
      const __m256 code = _mm256_fmadd_ps(weight, to_code, _mm256_set1_ps(kDither[4 * word + i]));
      codes[i] = _mm256_castps_si256(_mm256_add_ps(code, round));
    }
    const __m256i low = _mm256_add_epi32(codes[0], _mm256_slli_epi32(codes[1], 8));
    const __m256i high =
        _mm256_add_epi32(_mm256_slli_epi32(codes[2], 16), _mm256_slli_epi32(codes[3], 24));
    StoreWords(out, _mm256_sub_epi32(_mm256_add_epi32(low, high), rest));
  }
}

// Scores of some groups become codes of weights; the running maxima and sums of eight lanes
// advance.
inline TileFactors SoftmaxLanes(const LaneScores& t,
                                const RowGroups& groups,
                                float* running_max,
                                float* running_sum) {
  using M = VectorMath<Avx2>;
  const __m256 minus_infinity = _mm256_set1_ps(-__builtin_inff());
  __m256 top = minus_infinity;
  for (int k = 0; k < groups.n; ++k) top = _mm256_max_ps(top, t.tops[groups.at[k]]);
  const Weights weights = WeighRows(t, groups, top);
  // Of four rounded weights each is up to a half more: so that they sum up to 256.5 at most, and
  // times kMostValue fit 16 bits; one of them is 255 at most.
  const __m256 most = _mm256_set1_ps(254.5F);
  const __m256 largest = _mm256_max_ps(weights.largest, _mm256_set1_ps(1e-30F));
  RoundWeights(t, groups, _mm256_div_ps(most, largest));

  const __m256 tile_max = _mm256_fmadd_ps(top, t.scale, t.bias);
  const __m256 old_max = _mm256_loadu_ps(running_max);
  const __m256 new_max = _mm256_max_ps(old_max, tile_max);
  // A lane that has seen nothing yet is shifted by nothing.
  const __m256 any = _mm256_cmp_ps(new_max, minus_infinity, _CMP_NEQ_UQ);
  const __m256 shift = _mm256_and_ps(new_max, any);
  const __m256 correction = M::Exp2(_mm256_sub_ps(old_max, shift));
  const __m256 scale = M::Exp2(_mm256_sub_ps(tile_max, shift));
  const __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(running_sum), correction);
  _mm256_storeu_ps(running_max, new_max);
  _mm256_storeu_ps(running_sum, _mm256_fmadd_ps(weights.sum, scale, sum));
  return {correction, _mm256_mul_ps(scale, _mm256_div_ps(largest, most))};
}

}  // namespace
}  // namespace keyhole
