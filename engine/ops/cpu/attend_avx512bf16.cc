// Attention kernels for AVX-512 with BF16. One query multiplies rows of bf16 by products of bf16
// pairs with f32 sums, at twice the rate of f32. Many queries have scores by int8 products, and
// values by products of bf16 pairs; weights and what int8 codes stand for are rounded to bf16.
#include <immintrin.h>

#include "engine/ops/cpu/attend_few_bf16.h"
#include "engine/ops/cpu/attend_int8_scores.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kWidth = 16;
constexpr int kVectors = 4;

// Two rows as pairs: in each lane an element of `low`, and above it that of `high`.
inline __m512i Pair(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

// Word 2i from i, word 2i + 1 from 16 + i.
inline __m512i Interleave() {
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_or_si512(lanes,
                         _mm512_slli_epi32(_mm512_add_epi32(lanes, _mm512_set1_epi32(16)), 16));
}
inline __m512i RoundToPairs(__m512 low, __m512 high, __m512i interleave) {
  return _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// A block of C = C * scale + A B, 4 rows of `n` vectors. Element (i, k) of A is the pair at
// a[i][k * a_step], row k of B at b + k * b_row; every column has a scale.
struct Product {
  const uint32_t* a[4];
  int a_step;
  const float* b;
  int b_row;
  int depth;  // pairs
  float* c;
  int c_row;
  const float* scale;
};

template <int n>
inline __attribute__((always_inline)) void MultiplyBlock(const Product& p) {
  __m512 acc[4][n];
  // Unrolled by name, or the sums go through memory.
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) {
      acc[i][v] = _mm512_mul_ps(_mm512_loadu_ps(p.c + i * p.c_row + v * kWidth),
                                _mm512_loadu_ps(p.scale + v * kWidth));
    }
  }
  for (int k = 0; k < p.depth; ++k) {
    __m512i b[n];
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) b[v] = _mm512_loadu_si512(p.b + k * p.b_row + v * kWidth);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      const __m512i a = _mm512_set1_epi32(static_cast<int>(p.a[i][k * p.a_step]));
#pragma GCC unroll 4
      for (int v = 0; v < n; ++v) {
        acc[i][v] = _mm512_dpbf16_ps(acc[i][v], (__m512bh)a, (__m512bh)b[v]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < n; ++v) _mm512_storeu_ps(p.c + i * p.c_row + v * kWidth, acc[i][v]);
  }
}

// How many of C's columns from `column` on a block has, of `n_columns`, a multiple of 16.
inline int Step(int column, int n_columns) {
  return n_columns - column < kVectors * kWidth ? n_columns - column : kVectors * kWidth;
}

// The block's four rows over these columns.
inline __attribute__((always_inline)) void Multiply(Product p, int column, int n_columns) {
  p.b += column;
  p.c += column;
  p.scale += column;
  switch (Step(column, n_columns) / kWidth) {
    case 1:
      return MultiplyBlock<1>(p);
    case 2:
      return MultiplyBlock<2>(p);
    case 3:
      return MultiplyBlock<3>(p);
    default:
      return MultiplyBlock<kVectors>(p);
  }
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

// 2^x for x <= 0, relative error 1e-4: far below what rounding to bf16 does. 0 where x is far
// below.
inline __m512 PowerOfTwo(__m512 x) {
  const __m512 clamped = _mm512_max_ps(x, _mm512_set1_ps(-1000));
  const __m512 whole = _mm512_roundscale_ps(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 f = _mm512_sub_ps(clamped, whole);
  // Least maximum of the relative error over [-1/2, 1/2] that makes 1 of 0: what was summed before
  // is scaled by 2^0 again and again.
  __m512 p = _mm512_set1_ps(5.50088655e-2F);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.42210969e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93282935e-1F));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, whole);
}

// Of row j in sixteen lanes, before the lanes' scales; minus infinity in lanes that do not see it.
template <bool kMasked>
inline __m512 ScoresOf(const AttendTile& t, int lane, int j) {
  const __m512 scores =
      _mm512_loadu_ps(t.scores + static_cast<ptrdiff_t>(j) * t.padded_lanes + lane);
  if constexpr (!kMasked) return scores;
  const __mmask16 seen =
      _mm512_cmpgt_epi32_mask(_mm512_loadu_si512(t.visible + lane), _mm512_set1_epi32(j));
  return _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()), seen, scores);
}

// Scores [rows][lanes] become pairs of weights; the running maxima and sums of sixteen lanes
// advance.
template <bool kMasked>
void SoftmaxLanes(const AttendTile& t, const AttendState& s, int lane) {
  const __m512 infinity = _mm512_set1_ps(__builtin_inff());
  const __m512 zero = _mm512_setzero_ps();
  __m512 top = _mm512_sub_ps(zero, infinity);
  for (int j = 0; j < t.n_rows; ++j) top = _mm512_max_ps(top, ScoresOf<kMasked>(t, lane, j));
  const Int8Queries queries(t.queries, t.head_dim, t.padded_lanes);
  const __m512 scale = _mm512_loadu_ps(queries.scales + lane);
  const __m512 bias = _mm512_loadu_ps(t.bias + lane);
  const __m512 old_max = _mm512_loadu_ps(s.max + lane);
  top = _mm512_max_ps(old_max, _mm512_fmadd_ps(top, scale, bias));
  // A lane that has seen nothing yet is shifted by nothing.
  const __mmask16 any = _mm512_cmpneq_ps_mask(top, _mm512_sub_ps(zero, infinity));
  const __m512 shift = _mm512_maskz_mov_ps(any, top);
  const __m512 offset = _mm512_sub_ps(bias, shift);
  const __m512i interleave = Interleave();
  __m512 sum = zero;
  for (int j = 0; j < t.n_rows; j += 2) {
    const __m512 low = PowerOfTwo(_mm512_fmadd_ps(ScoresOf<kMasked>(t, lane, j), scale, offset));
    __m512 high = zero;
    if (j + 1 < t.n_rows) {
      high = PowerOfTwo(_mm512_fmadd_ps(ScoresOf<kMasked>(t, lane, j + 1), scale, offset));
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(low, high));
    _mm512_storeu_si512(t.scores + static_cast<ptrdiff_t>(j / 2) * t.padded_lanes + lane,
                        RoundToPairs(low, high, interleave));
  }
  const __m512 correction = PowerOfTwo(_mm512_sub_ps(old_max, shift));
  _mm512_storeu_ps(s.max + lane, top);
  _mm512_storeu_ps(s.sum + lane, _mm512_fmadd_ps(_mm512_loadu_ps(s.sum + lane), correction, sum));
  _mm512_storeu_ps(t.correction + lane, correction);
}

// t.rows = pairs of values: of rows 2i and 2i + 1 in row i.
template <class Element>
void PairValues(const AttendTile& t) {
  for (int j = 0; j < t.n_rows; j += 2) {
    const bool whole = j + 1 < t.n_rows;
    const auto* low = reinterpret_cast<const Element*>(t.values[j] + t.head_offset);
    const auto* high =
        whole ? reinterpret_cast<const Element*>(t.values[j + 1] + t.head_offset) : low;
    const float low_scale = ScaleOf(low, t.head_dim);
    const float high_scale = ScaleOf(high, t.head_dim);
    float* out = t.rows + j / 2 * t.padded_dim;
    for (int c = 0; c < t.padded_dim; c += kWidth) {
      const auto mask = static_cast<__mmask16>(FirstOnes(t.head_dim - c));
      const __m256i above = whole ? LoadBf16(high + c, mask, high_scale) : _mm256_setzero_si256();
      _mm512_storeu_si512(out + c, Pair(LoadBf16(low + c, mask, low_scale), above));
    }
  }
}

// acc = acc * correction + values^T . weights, a row for each dimension: so that the weights, which
// are many, are read as vectors and again from the nearest cache.
void AddValues(const AttendTile& t, const AttendState& s) {
  const auto* values = reinterpret_cast<const uint32_t*>(t.rows);
  for (int column = 0; column < t.padded_lanes; column += Step(column, t.padded_lanes)) {
    for (int c = 0; c < t.padded_dim; c += 4) {
      const uint32_t* a = values + c;
      const Product p = {.a = {a, a + 1, a + 2, a + 3},
                         .a_step = t.padded_dim,
                         .b = t.scores,
                         .b_row = t.padded_lanes,
                         .depth = (t.n_rows + 1) / 2,
                         .c = s.acc + static_cast<ptrdiff_t>(c) * t.padded_lanes,
                         .c_row = t.padded_lanes,
                         .scale = t.correction};
      Multiply(p, column, t.padded_lanes);
    }
  }
}

// acc [padded_dim, padded_lanes] becomes [padded_lanes, padded_dim].
void UnpackSums(float* acc, float* scratch, int padded_dim, int padded_lanes) {
  const ptrdiff_t n = static_cast<ptrdiff_t>(padded_dim) * padded_lanes;
  __builtin_memcpy(scratch, acc, n * sizeof(float));
  for (int lane = 0; lane < padded_lanes; ++lane) {
    for (int c = 0; c < padded_dim; ++c) {
      *acc++ = scratch[static_cast<ptrdiff_t>(c) * padded_lanes + lane];
    }
  }
}

template <class Element>
void Run(const AttendTile& t, const AttendState& s) {
  ScoreInt8<Element>(t);
  for (int lane = 0; lane < t.padded_lanes; lane += kWidth) {
    if (t.visible == nullptr) {
      SoftmaxLanes<false>(t, s, lane);
    } else {
      SoftmaxLanes<true>(t, s, lane);
    }
  }
  PairValues<Element>(t);
  AddValues(t, s);
}

}  // namespace

AttendKernelSet AttendKernelsAvx512Bf16() {
  AttendKernelSet kernels = AttendKernelsAvx512();
  // Long sums: what precedes and follows a block of sums takes as long as a few rows.
  constexpr int kManyRows = 256;
  static_assert(kManyRows <= kAttendMostRows);
  kernels.bf16.few = RunFewBf16;
  kernels.bf16.many = Run<Bf16>;
  kernels.bf16.many_rows = kManyRows;
  kernels.bf16.pack_queries = PackInt8Queries;
  kernels.bf16.unpack_sums = UnpackSums;
  kernels.int8.many = Run<Int8>;
  kernels.int8.many_rows = kManyRows;
  kernels.int8.pack_queries = PackInt8Queries;
  kernels.int8.unpack_sums = UnpackSums;
  return kernels;
}

}  // namespace keyhole
