// Attention kernels for AVX-512 with BF16: many queries meet bf16 rows by products of pairs with
// f32 sums, at twice the rate of f32. Queries and weights are rounded to bf16, as rows are already.
#include <immintrin.h>

#include "engine/ops/cpu/attend_isa_avx512.h"
#include "engine/ops/cpu/attend_many_impl.h"

namespace keyhole {
namespace {

constexpr int kWidth = 16;
constexpr int kVectors = 4;

// Two rows as pairs: in each lane an element of `low`, and above it that of `high`.
inline __m512i Pair(__m256i low, __m256i high) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(low),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
}

inline __m256i RoundToBf16(const float* in) {
  return (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(in));
}

// Rows 2i and 2i + 1 of sixteen columns of f32 become row i of pairs, in place.
void PackPairs(float* columns, int n_rows, ptrdiff_t row_size) {
  for (int j = 0; j < n_rows; j += 2) {
    const float* row = columns + j * row_size;
    const __m256i high = j + 1 < n_rows ? RoundToBf16(row + row_size) : _mm256_setzero_si256();
    _mm512_storeu_si512(columns + j / 2 * row_size, Pair(RoundToBf16(row), high));
  }
}

// A block of C = (C * scale or 0) + A B, 4 rows of `n` vectors. Element (i, k) of A is the pair at
// a[i][k * a_step], row k of B at b + k * b_row.
struct Product {
  const uint32_t* a[4];
  int a_step;
  const float* b;
  int b_row;
  int depth;  // pairs
  float* c;
  int c_row;
  const float* scale;  // [4], or null for 0
};

template <int n>
inline __attribute__((always_inline)) void MultiplyBlock(const Product& p) {
  __m512 acc[4][n];
  for (int i = 0; i < 4; ++i) {
    for (int v = 0; v < n; ++v) {
      acc[i][v] = p.scale == nullptr
                      ? _mm512_setzero_ps()
                      : _mm512_mul_ps(_mm512_loadu_ps(p.c + i * p.c_row + v * kWidth),
                                      _mm512_set1_ps(p.scale[i]));
    }
  }
  for (int k = 0; k < p.depth; ++k) {
    __m512i b[n];
    for (int v = 0; v < n; ++v) b[v] = _mm512_loadu_si512(p.b + k * p.b_row + v * kWidth);
    for (int i = 0; i < 4; ++i) {
      const __m512i a = _mm512_set1_epi32(static_cast<int>(p.a[i][k * p.a_step]));
      for (int v = 0; v < n; ++v) {
        acc[i][v] = _mm512_dpbf16_ps(acc[i][v], (__m512bh)a, (__m512bh)b[v]);
      }
    }
  }
  for (int i = 0; i < 4; ++i) {
    for (int v = 0; v < n; ++v) _mm512_storeu_ps(p.c + i * p.c_row + v * kWidth, acc[i][v]);
  }
}

// The block's four rows over all of B's columns, a multiple of 16, from `column` on.
inline void Multiply(Product p, int column, int n_columns) {
  p.b += column;
  p.c += column;
  if (n_columns - column >= kVectors * kWidth) {
    MultiplyBlock<kVectors>(p);
  } else {
    MultiplyBlock<1>(p);
  }
}

inline int Step(int column, int n_columns) {
  return n_columns - column >= kVectors * kWidth ? kVectors * kWidth : kWidth;
}

const uint32_t* KeyPairs(const AttendTile& t, int row) {
  const int last = t.n_rows - 1;  // in place of those behind it, whose scores nobody reads
  return reinterpret_cast<const uint32_t*>(t.keys[row < last ? row : last] + t.head_offset);
}

// scores = keys . queries^T
void Score(const AttendTile& t) {
  for (int column = 0; column < t.padded_lanes; column += Step(column, t.padded_lanes)) {
    for (int j = 0; j < t.n_rows; j += 4) {
      const Product p = {
          .a = {KeyPairs(t, j), KeyPairs(t, j + 1), KeyPairs(t, j + 2), KeyPairs(t, j + 3)},
          .a_step = 1,
          .b = t.queries,
          .b_row = t.padded_lanes,
          .depth = t.head_dim / 2,
          .c = t.scores + static_cast<ptrdiff_t>(j) * t.padded_lanes,
          .c_row = t.padded_lanes,
          .scale = nullptr};
      Multiply(p, column, t.padded_lanes);
    }
  }
}

// t.rows = pairs of values: of rows 2i and 2i + 1 in row i.
void PairValues(const AttendTile& t) {
  for (int j = 0; j < t.n_rows; j += 2) {
    const auto* low = reinterpret_cast<const uint16_t*>(t.values[j] + t.head_offset);
    const bool whole = j + 1 < t.n_rows;
    const auto* high =
        whole ? reinterpret_cast<const uint16_t*>(t.values[j + 1] + t.head_offset) : low;
    float* out = t.rows + j / 2 * t.padded_dim;
    for (int c = 0; c < t.padded_dim; c += kWidth) {
      const int left = t.head_dim - c;
      const __mmask16 mask = left >= kWidth ? 0xffff : left <= 0 ? 0 : (1U << left) - 1;
      _mm512_storeu_si512(out + c,
                          Pair(_mm256_maskz_loadu_epi16(mask, low + c),
                               _mm256_maskz_loadu_epi16(whole ? mask : 0, high + c)));
    }
  }
}

// acc = acc * correction + weights^T . values
void AddValues(const AttendTile& t, const AttendState& s) {
  const auto* weights = reinterpret_cast<const uint32_t*>(t.scores);
  for (int column = 0; column < t.padded_dim; column += Step(column, t.padded_dim)) {
    for (int lane = 0; lane < t.padded_lanes; lane += 4) {
      const uint32_t* a = weights + lane;
      const Product p = {.a = {a, a + 1, a + 2, a + 3},
                         .a_step = t.padded_lanes,
                         .b = t.rows,
                         .b_row = t.padded_dim,
                         .depth = (t.n_rows + 1) / 2,
                         .c = s.acc + static_cast<ptrdiff_t>(lane) * t.padded_dim,
                         .c_row = t.padded_dim,
                         .scale = t.correction + lane};
      Multiply(p, column, t.padded_dim);
    }
  }
}

void Run(const AttendTile& t, const AttendState& s) {
  Score(t);
  for (int lane = 0; lane < t.padded_lanes; lane += kWidth) {
    AttendMany<Avx512>::SoftmaxLanes(t, s, lane);
    PackPairs(t.scores + lane, t.n_rows, t.padded_lanes);
  }
  PairValues(t);
  AddValues(t, s);
}

void PackQueries(float* queries, int head_dim, int padded_lanes) {
  for (int lane = 0; lane < padded_lanes; lane += kWidth) {
    PackPairs(queries + lane, head_dim, padded_lanes);
  }
}

}  // namespace

AttendKernelSet AttendKernelsAvx512Bf16() {
  AttendKernelSet kernels = AttendKernelsAvx512();
  kernels.bf16.many = Run;
  kernels.bf16.pack_queries = PackQueries;
  return kernels;
}

}  // namespace keyhole
