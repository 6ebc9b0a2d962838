// Many queries: products of small matrices, vectors along the lanes.
// Part of attend_kernels_impl.h: no library function is called.
#pragma once

#include "engine/ops/cpu/attend_kernels.h"
#include "engine/ops/cpu/attend_widen.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct AttendMany {
  using M = VectorMath<Isa>;
  using V = typename Isa::V;
  static constexpr int kWidth = Isa::kWidth;

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
  static void Run(const AttendTile& t, const AttendState& s) {
    const int padded_rows = (t.n_rows + 3) / 4 * 4;
    AttendWiden<Isa>::template Widen<Element>(t, t.keys, padded_rows);
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
    AttendWiden<Isa>::template Widen<Element>(t, t.values, t.n_rows);
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
};

}  // namespace
}  // namespace keyhole
