// Attention kernels for AVX-512 with BF16. One query multiplies rows of bf16 by products of bf16
// pairs with f32 sums, at twice the rate of f32. Many queries have scores by int8 products, and
// values by products of bf16 pairs; weights and what int8 codes stand for are rounded to bf16.
#include <immintrin.h>

#include "engine/ops/cpu/attend_bf16_rows.h"
#include "engine/ops/cpu/attend_few_bf16.h"
#include "engine/ops/cpu/attend_int8_scores.h"
#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_softmax_lanes.h"
#include "engine/ops/cpu/bf16_math.h"
#include "engine/ops/cpu/transpose_avx512.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kWidth = 16;
constexpr int kVectors = 4;

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

// Scores [rows][lanes] become pairs of weights; the running maxima and sums of sixteen lanes
// advance.
void Softmax(const AttendTile& t, const AttendState& s, int lane) {
  const Int8Queries queries(t.queries, t.head_dim, t.padded_lanes);
  const LaneScores lanes = {.scores = t.scores + lane,
                            .stride = t.padded_lanes,
                            .n_rows = t.n_rows,
                            .padded_rows = 0,
                            .visible = t.visible == nullptr ? nullptr : t.visible + lane,
                            .scale = _mm512_loadu_ps(queries.scales + lane),
                            .bias = _mm512_loadu_ps(t.bias + lane)};
  _mm512_storeu_ps(t.correction + lane, SoftmaxLanes(lanes, s.max + lane, s.sum + lane));
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
  Transpose(scratch, padded_dim, padded_lanes, acc);
}

template <class Element>
void Run(const AttendTile& t, const AttendState& s) {
  ScoreInt8<Element>(t);
  for (int lane = 0; lane < t.padded_lanes; lane += kWidth) Softmax(t, s, lane);
  PairValues<Element>(t);
  AddValues(t, s);
}

template <int kVectors>
void RunFewVectors(const AttendTile& t, const AttendState& s) {
  int lane = 0;
  for (; lane + kLaneBlock <= t.lanes; lane += kLaneBlock) {
    FewBf16<kLaneBlock, kVectors>::Run(t, s, lane);
  }
  switch (t.lanes - lane) {
    case 3:
      return FewBf16<3, kVectors>::Run(t, s, lane);
    case 2:
      return FewBf16<2, kVectors>::Run(t, s, lane);
    case 1:
      return FewBf16<1, kVectors>::Run(t, s, lane);
    default:
      return;
  }
}

// As AttendFew, whose part it takes for other sizes of heads.
void RunFew(const AttendTile& t, const AttendState& s) {
  switch (t.head_dim) {
    case 64:
      return RunFewVectors<2>(t, s);
    case 128:
      return RunFewVectors<4>(t, s);
    case 192:
      return RunFewVectors<6>(t, s);
    case 256:
      return RunFewVectors<8>(t, s);
    default:
      return AttendFew<Avx512>::Run<Bf16>(t, s);
  }
}

}  // namespace

AttendKernelSet AttendKernelsAvx512Bf16() {
  AttendKernelSet kernels = AttendKernelsAvx512();
  // Long sums: what precedes and follows a block of sums takes as long as a few rows.
  constexpr int kManyRows = 256;
  static_assert(kManyRows <= kAttendMostRows);
  kernels.bf16.few = RunFew;
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
