// One query against rows of bf16 by products of bf16 pairs. Part of attend_avx512bf16.cc and
// of attend_one_amx.h.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/attend_isa_avx512.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_kernels_impl.h"

namespace keyhole {
namespace {

// Weights of a tile's rows 2i and 2i + 1: at[lane * lane_stride + i * pair_stride].
struct WeightPairs {
  const uint32_t* at;
  ptrdiff_t lane_stride;
  ptrdiff_t pair_stride;
};

// Some lanes of one tile, whose heads have kVectors vectors: a whole number of kStep.
template <int kLanes, int kVectors>
class FewBf16 {
 public:
  static constexpr int kStep = 64;  // dimensions
  static constexpr int kHalf = 32;  // elements of a vector
  static constexpr int kDim = kVectors * kHalf;

  static void Run(const AttendTile& t, const AttendState& s, int first) {
    Score(t, first);
    alignas(64) uint32_t weights[kLanes][kAttendTileRows / 2];
    for (int l = 0; l < kLanes; ++l) {
      t.correction[first + l] = AttendFew<Avx512>::SoftmaxLane(t, s, first + l);
      PairWeights(t.scores + (first + l) * kAttendTileRows, t.n_rows, weights[l]);
    }
    const WeightPairs pairs = {weights[0], kAttendTileRows / 2, 1};
    for (int c = 0; c < kDim; c += kStep) Weigh(t, s, pairs, first, c);
  }
  // acc[l][c ...] = acc * correction + weights . values, 64 dimensions. Pairs of two rows' elements
  // come out of order, four of the lower and four of the upper half of each eight, and so are the
  // sums kept until the end.
  static void Weigh(
      const AttendTile& t, const AttendState& s, const WeightPairs& weights, int first, int c) {
    float* out = s.acc + static_cast<ptrdiff_t>(first) * t.padded_dim + c;
    __m512 acc[kLanes][4];
#pragma GCC unroll 4
    for (int l = 0; l < kLanes; ++l) {
      const __m512 factor = _mm512_set1_ps(t.correction[first + l]);
      const float* in = out + l * t.padded_dim;
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m512 low = _mm512_mul_ps(_mm512_loadu_ps(in + h * kHalf), factor);
        const __m512 high = _mm512_mul_ps(_mm512_loadu_ps(in + h * kHalf + 16), factor);
        acc[l][2 * h] = _mm512_permutex2var_ps(low, LowerFours(), high);
        acc[l][2 * h + 1] = _mm512_permutex2var_ps(low, UpperFours(), high);
      }
    }
    const uint32_t* pair = weights.at;
    for (int j = 0; j < t.n_rows; j += 2, pair += weights.pair_stride) {
      const int next = j + 1 < t.n_rows ? j + 1 : j;  // then with a weight of 0
      const unsigned char* a = t.values[j] + t.head_offset;
      const unsigned char* b = t.values[next] + t.head_offset;
      for (int r = j; first == 0 && c == 0 && r < j + 2 && r < t.n_next; ++r) {
        Prefetch(t.next_values[r] + t.head_offset);
      }
      __m512bh pairs[4];
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const auto even = (__m512i)LoadPairs(a, c + h * kHalf);
        const auto odd = (__m512i)LoadPairs(b, c + h * kHalf);
        pairs[2 * h] = (__m512bh)_mm512_unpacklo_epi16(even, odd);
        pairs[2 * h + 1] = (__m512bh)_mm512_unpackhi_epi16(even, odd);
      }
#pragma GCC unroll 4
      for (int l = 0; l < kLanes; ++l) {
        const auto weight =
            (__m512bh)_mm512_set1_epi32(static_cast<int>(pair[l * weights.lane_stride]));
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) acc[l][v] = _mm512_dpbf16_ps(acc[l][v], weight, pairs[v]);
      }
    }
#pragma GCC unroll 4
    for (int l = 0; l < kLanes; ++l) {
      float* to = out + l * t.padded_dim;
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m512 lower = acc[l][2 * h];
        const __m512 upper = acc[l][2 * h + 1];
        _mm512_storeu_ps(to + h * kHalf, _mm512_permutex2var_ps(lower, FirstEights(), upper));
        _mm512_storeu_ps(to + h * kHalf + 16, _mm512_permutex2var_ps(lower, LastEights(), upper));
      }
    }
  }

 private:
  // One head of a row that is read next.
  static void Prefetch(const unsigned char* head) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) __builtin_prefetch(head + 64 * v, 0, 2);
  }

  static __m512bh LoadPairs(const unsigned char* row, int c) {
    return (__m512bh)_mm512_loadu_si512(row + 2 * static_cast<ptrdiff_t>(c));
  }

  static void Score(const AttendTile& t, int first) {
    __m512bh queries[kLanes][kVectors];
    for (int l = 0; l < kLanes; ++l) {
      const float* q = t.queries + static_cast<ptrdiff_t>(first + l) * t.padded_dim;
      for (int v = 0; v < kVectors; ++v) {
        queries[l][v] = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(q + v * kHalf + 16),
                                            _mm512_loadu_ps(q + v * kHalf));
      }
    }
    for (int j = 0; j < t.n_rows; j += 16) {
      const unsigned char* at[16];
      for (int r = 0; r < 16; ++r) {
        at[r] = t.keys[j + r < t.n_rows ? j + r : t.n_rows - 1] + t.head_offset;
      }
      for (int r = j; first == 0 && r < j + 16 && r < t.n_next; ++r) {
        Prefetch(t.next_keys[r] + t.head_offset);
      }
      for (int l = 0; l < kLanes; ++l) {
        Avx512::V sums[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; ++r) {
          __m512 sum = _mm512_dpbf16_ps(_mm512_setzero_ps(), queries[l][0], LoadPairs(at[r], 0));
#pragma GCC unroll 8
          for (int v = 1; v < kVectors; ++v) {
            sum = _mm512_dpbf16_ps(sum, queries[l][v], LoadPairs(at[r], v * kHalf));
          }
          sums[r] = sum;
        }
        const __m512 score = Avx512::SumRows(sums) + _mm512_set1_ps(t.bias[first + l]);
        _mm512_storeu_ps(t.scores + (first + l) * kAttendTileRows + j, score);
      }
    }
  }

  // Those of rows 2i and 2i + 1 in word i; 0 where no row is, since those scores were minus
  // infinity.
  static void PairWeights(const float* weights, int n_rows, uint32_t* pairs) {
    for (int j = 0; j < n_rows; j += kHalf) {
      const __m512 above =
          j + 16 < n_rows ? _mm512_loadu_ps(weights + j + 16) : _mm512_setzero_ps();
      _mm512_store_si512(pairs + j / 2,
                         (__m512i)_mm512_cvtne2ps_pbh(above, _mm512_loadu_ps(weights + j)));
    }
  }

  // Of 32 floats in two vectors: dimensions 0-3, 8-11, 16-19, 24-27, and the others; and back.
  static __m512i LowerFours() {
    return _mm512_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  }
  static __m512i UpperFours() {
    return _mm512_setr_epi32(4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  }
  static __m512i FirstEights() {
    return _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  }
  static __m512i LastEights() {
    return _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  }
};

}  // namespace
}  // namespace keyhole
