// Bodies of the attention kernels, for any vector width. Included once by each file that names an
// instruction set: `Isa` gives the width, fused multiply-add, reductions and a prefetch.
// Everything is in an unnamed namespace and no library function is called, so that no code for one
// instruction set can be linked into another's.
#pragma once

#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

constexpr int kLaneBlock = 4;

template <class Isa>
struct AttendKernelsImpl {
  using M = VectorMath<Isa>;
  using V = typename Isa::V;
  static constexpr int kWidth = Isa::kWidth;

  // ---- few lanes: dot products along head_dim
  // -----------------------------------------------------

  // sums[l * kWidth + r] = partial dot products, one vector each, of kLanes queries and 4 rows.
  template <int kLanes, class Element>
  static inline __attribute__((always_inline)) void DotBlock(
      const float* queries, int query_stride, const unsigned char* const* keys, int dim, V* sums) {
    V acc[kLanes][4];
    for (auto& lane : acc) {
      for (V& v : lane) v = M::Set(0);
    }
    const Element* key[4];
    for (int r = 0; r < 4; ++r) key[r] = reinterpret_cast<const Element*>(keys[r]);
    for (int c = 0; c < dim; c += kWidth) {
      V k[4];
      for (int r = 0; r < 4; ++r) k[r] = M::Load(key[r] + c);
      for (int l = 0; l < kLanes; ++l) {
        const V q = M::Load(queries + l * query_stride + c);
        for (int r = 0; r < 4; ++r) acc[l][r] = Isa::MulAdd(q, k[r], acc[l][r]);
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      for (int r = 0; r < 4; ++r) sums[l * kWidth + r] = acc[l][r];
    }
  }

  // scores[l][j] of kLanes lanes from `first`.
  template <int kLanes, class Element>
  static void ScoreFew(const AttendTile& t, const unsigned char* const* keys, int dim, int first) {
    const float* queries = t.queries + static_cast<ptrdiff_t>(first) * t.padded_dim;
    for (int j = 0; j < t.n_rows; j += kWidth) {
      V sums[kLanes][kWidth];
      const unsigned char* at[kWidth];
      for (int r = 0; r < kWidth; ++r) at[r] = keys[j + r < t.n_rows ? j + r : t.n_rows - 1];
      for (int r = 0; r < kWidth; r += 4) {
        DotBlock<kLanes, Element>(queries, t.padded_dim, at + r, dim, &sums[0][r]);
      }
      for (int l = 0; l < kLanes; ++l) {
        const V score = Isa::SumRows(sums[l]) + M::Set(t.bias[first + l]);
        M::Store(t.scores + (first + l) * kAttendTileRows + j, score);
      }
    }
  }

  // Turns the scores of one lane into weights; returns the factor for what was summed before.
  static float SoftmaxLane(const AttendTile& t, const AttendState& s, int lane) {
    float* scores = t.scores + lane * kAttendTileRows;
    for (int j = t.n_rows; j % kWidth != 0; ++j) scores[j] = -__builtin_inff();
    V top = M::Load(scores);
    for (int j = kWidth; j < t.n_rows; j += kWidth) top = M::Max(top, M::Load(scores + j));
    const float tile_max = Isa::MaxOf(top);
    const float old_max = s.max[lane];
    const float new_max = tile_max > old_max ? tile_max : old_max;
    const float shift = new_max == -__builtin_inff() ? 0 : new_max;
    V sum = M::Set(0);
    for (int j = 0; j < t.n_rows; j += kWidth) {
      const V weight = M::Exp2(M::Load(scores + j) - M::Set(shift));
      M::Store(scores + j, weight);
      sum += weight;
    }
    const float correction = M::First(M::Exp2(M::Set(old_max - shift)));
    s.max[lane] = new_max;
    s.sum[lane] = s.sum[lane] * correction + Isa::SumOf(sum);
    return correction;
  }

  // acc[l][c ...] = acc * correction + weights . values, kVectors vectors of kLanes lanes.
  template <int kLanes, int kVectors, class Element>
  static inline __attribute__((always_inline)) void WeighFew(const AttendTile& t,
                                                             const AttendState& s,
                                                             const unsigned char* const* values,
                                                             int first,
                                                             int c) {
    float* out = s.acc + static_cast<ptrdiff_t>(first) * t.padded_dim + c;
    const float* weights = t.scores + first * kAttendTileRows;
    V acc[kLanes][kVectors];
    for (int l = 0; l < kLanes; ++l) {
      const V factor = M::Set(t.correction[first + l]);
      for (int v = 0; v < kVectors; ++v) {
        acc[l][v] = M::Load(out + l * t.padded_dim + v * kWidth) * factor;
      }
    }
    for (int j = 0; j < t.n_rows; ++j) {
      const Element* row = reinterpret_cast<const Element*>(values[j]) + c;
      V value[kVectors];
      for (int v = 0; v < kVectors; ++v) value[v] = M::Load(row + v * kWidth);
      for (int l = 0; l < kLanes; ++l) {
        const V weight = M::Set(weights[l * kAttendTileRows + j]);
        for (int v = 0; v < kVectors; ++v) acc[l][v] = Isa::MulAdd(weight, value[v], acc[l][v]);
      }
    }
    for (int l = 0; l < kLanes; ++l) {
      for (int v = 0; v < kVectors; ++v) {
        M::Store(out + l * t.padded_dim + v * kWidth, acc[l][v]);
      }
    }
  }

  // kLanes lanes from `first` against one pass's rows: keys make weights, then values are weighed.
  template <int kLanes, class Element, bool kKeys>
  static void FewBlock(const AttendTile& t,
                       const AttendState& s,
                       const unsigned char* const* rows,
                       int dim,
                       int first) {
    if constexpr (kKeys) {
      ScoreFew<kLanes, Element>(t, rows, dim, first);
      for (int l = first; l < first + kLanes; ++l) t.correction[l] = SoftmaxLane(t, s, l);
    } else {
      constexpr int kStep = Isa::kFewVectors * kWidth;
      int c = 0;
      for (; c + kStep <= dim; c += kStep) {
        WeighFew<kLanes, Isa::kFewVectors, Element>(t, s, rows, first, c);
      }
      for (; c < dim; c += kWidth) WeighFew<kLanes, 1, Element>(t, s, rows, first, c);
    }
  }

  template <class Element, bool kKeys>
  static void FewLanes(const AttendTile& t,
                       const AttendState& s,
                       const unsigned char* const* rows,
                       int dim) {
    int lane = 0;
    for (; lane + kLaneBlock <= t.lanes; lane += kLaneBlock) {
      FewBlock<kLaneBlock, Element, kKeys>(t, s, rows, dim, lane);
    }
    switch (t.lanes - lane) {
      case 3:
        return FewBlock<3, Element, kKeys>(t, s, rows, dim, lane);
      case 2:
        return FewBlock<2, Element, kKeys>(t, s, rows, dim, lane);
      case 1:
        return FewBlock<1, Element, kKeys>(t, s, rows, dim, lane);
      default:
        return;
    }
  }

  // Reads rows in place where their length is a whole number of vectors.
  template <class Element, bool kKeys>
  static void FewPass(const AttendTile& t, const AttendState& s) {
    const unsigned char* const* from = kKeys ? t.keys : t.values;
    const unsigned char* at[kAttendTileRows] = {};
    if (t.head_dim % kWidth == 0) {
      for (int j = 0; j < t.n_rows; ++j) at[j] = from[j] + t.head_offset;
      FewLanes<Element, kKeys>(t, s, at, t.head_dim);
      return;
    }
    Widen<Element>(t, from, t.n_rows);
    for (int j = 0; j < t.n_rows; ++j) {
      at[j] = reinterpret_cast<const unsigned char*>(t.rows + j * t.padded_dim);
    }
    FewLanes<float, kKeys>(t, s, at, t.padded_dim);
  }

  static inline __attribute__((always_inline)) void Prefetch(const AttendTile& t, int bytes) {
    for (int j = 0; j < t.n_next; ++j) {
      for (int b = 0; b < bytes; b += 64) {
        __builtin_prefetch(t.next_keys[j] + t.head_offset + b, 0, 2);
        __builtin_prefetch(t.next_values[j] + t.head_offset + b, 0, 2);
      }
    }
  }

  template <class Element>
  static void Few(const AttendTile& t, const AttendState& s) {
    Prefetch(t, t.head_dim * static_cast<int>(sizeof(Element)));
    FewPass<Element, true>(t, s);
    FewPass<Element, false>(t, s);
  }

  // ---- many lanes: products of small matrices
  // ------------------------------------------------------

  // t.rows = the head's elements of each row in f32, zeros behind head_dim and in rows up to
  // padded_rows.
  template <class Element>
  static void Widen(const AttendTile& t, const unsigned char* const* from, int padded_rows) {
    for (int j = 0; j < t.n_rows; ++j) {
      const Element* in = reinterpret_cast<const Element*>(from[j] + t.head_offset);
      float* out = t.rows + j * t.padded_dim;
      int c = 0;
      for (; c + kWidth <= t.head_dim; c += kWidth) M::Store(out + c, M::Load(in + c));
      for (; c < t.head_dim; ++c) out[c] = M::Scalar(in[c]);
      for (; c < t.padded_dim; ++c) out[c] = 0;
    }
    for (int i = t.n_rows * t.padded_dim; i < padded_rows * t.padded_dim; ++i) t.rows[i] = 0;
  }

  // A block of C = (C * scale or 0) + A B: 4 rows of kVectors vectors. A's element (i, k) is at
  // a[i * a_row + k * a_step], B's row k at b + k * b_row.
  struct Product {
    const float* a;
    int a_row;
    int a_step;
    const float* b;
    int b_row;
    int depth;
    float* c;
    int c_row;
    const float* scale;  // [4], or null for 0
  };

  template <int kVectors>
  static inline __attribute__((always_inline)) void MultiplyBlock(const Product& p) {
    V acc[4][kVectors];
    for (int i = 0; i < 4; ++i) {
      for (int v = 0; v < kVectors; ++v) {
        acc[i][v] = p.scale == nullptr
                        ? M::Set(0)
                        : M::Load(p.c + i * p.c_row + v * kWidth) * M::Set(p.scale[i]);
      }
    }
    for (int k = 0; k < p.depth; ++k) {
      V b[kVectors];
      for (int v = 0; v < kVectors; ++v) b[v] = M::Load(p.b + k * p.b_row + v * kWidth);
      for (int i = 0; i < 4; ++i) {
        const V a = M::Set(p.a[i * p.a_row + k * p.a_step]);
        for (int v = 0; v < kVectors; ++v) acc[i][v] = Isa::MulAdd(a, b[v], acc[i][v]);
      }
    }
    for (int i = 0; i < 4; ++i) {
      for (int v = 0; v < kVectors; ++v) M::Store(p.c + i * p.c_row + v * kWidth, acc[i][v]);
    }
  }

  // C [n_rows, n_columns]: n_rows a multiple of 4, n_columns of 16. B's columns stay in the cache
  // while all rows pass.
  static void Multiply(const Product& whole, int n_rows, int n_columns) {
    int column = 0;
    while (column < n_columns) {
      const bool wide = column + Isa::kManyVectors * kWidth <= n_columns;
      for (int i = 0; i < n_rows; i += 4) {
        Product p = whole;
        p.a += static_cast<ptrdiff_t>(i) * p.a_row;
        p.b += column;
        p.c += static_cast<ptrdiff_t>(i) * p.c_row + column;
        if (p.scale != nullptr) p.scale += i;
        if (wide) {
          MultiplyBlock<Isa::kManyVectors>(p);
        } else {
          MultiplyBlock<1>(p);
        }
      }
      column += wide ? Isa::kManyVectors * kWidth : kWidth;
    }
  }

  // Scores [rows][lanes] become weights; the running maxima and sums of kWidth lanes advance.
  static void SoftmaxLanes(const AttendTile& t, const AttendState& s, int lane) {
    const V minus_infinity = M::Set(-__builtin_inff());
    const V bias = M::Load(t.bias + lane);
    const V old_max = M::Load(s.max + lane);
    V top = old_max;
    float* scores = t.scores + lane;
    for (int j = 0; j < t.n_rows; ++j, scores += t.padded_lanes) {
      V score = M::Load(scores) + bias;
      if (t.visible != nullptr) {
        score = M::LoadInt(t.visible + lane) > j ? score : minus_infinity;
      }
      M::Store(scores, score);
      top = M::Max(top, score);
    }
    const V shift = top == minus_infinity ? M::Set(0) : top;
    const V correction = M::Exp2(old_max - shift);
    V sum = M::Load(s.sum + lane) * correction;
    scores = t.scores + lane;
    for (int j = 0; j < t.n_rows; ++j, scores += t.padded_lanes) {
      const V weight = M::Exp2(M::Load(scores) - shift);
      M::Store(scores, weight);
      sum += weight;
    }
    M::Store(s.max + lane, top);
    M::Store(s.sum + lane, sum);
    M::Store(t.correction + lane, correction);
  }

  template <class Element>
  static void Many(const AttendTile& t, const AttendState& s) {
    const int padded_rows = (t.n_rows + 3) / 4 * 4;
    Widen<Element>(t, t.keys, padded_rows);
    // scores = keys . queries^T
    Multiply({.a = t.rows,
              .a_row = t.padded_dim,
              .a_step = 1,
              .b = t.queries,
              .b_row = t.padded_lanes,
              .depth = t.head_dim,
              .c = t.scores,
              .c_row = t.padded_lanes,
              .scale = nullptr},
             padded_rows,
             t.padded_lanes);
    for (int lane = 0; lane < t.padded_lanes; lane += kWidth) SoftmaxLanes(t, s, lane);
    Widen<Element>(t, t.values, t.n_rows);
    // acc = acc * correction + weights^T . values
    Multiply({.a = t.scores,
              .a_row = 1,
              .a_step = t.padded_lanes,
              .b = t.rows,
              .b_row = t.padded_dim,
              .depth = t.n_rows,
              .c = s.acc,
              .c_row = t.padded_dim,
              .scale = t.correction},
             t.padded_lanes,
             t.padded_dim);
  }

  static AttendKernelSet Set() {
    return {.f32 = {.few = Few<float>, .many = Many<float>},
            .bf16 = {.few = Few<Bf16>, .many = Many<Bf16>}};
  }
};

}  // namespace
}  // namespace keyhole
