// Bodies of the score kernels. Part of selection_kernels_impl.h: no library function is called.
#pragma once

#include "engine/ops/cpu/block_tops_impl.h"
#include "engine/ops/cpu/selection_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

alignas(64) constexpr int32_t kScoreLanes[kScoreBlock] = {
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

template <class Isa>
struct ScoreImpl {
  using M = VectorMath<Isa>;
  using V = typename M::V;
  using I = typename M::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kVectors = kScoreBlock / kWidth;
  static constexpr float kLeastPower = -125;
  static_assert(Isa::kMaxQueries <= kScoreMaxQueries);

  static inline I SetInt(int32_t x) { return I{} + x; }
  static inline I MaxInt(I a, I b) { return a > b ? a : b; }
  static inline V ToFloat(I x) { return __builtin_convertvector(x, V); }
  static inline void StoreInt(int32_t* p, I v) { __builtin_memcpy(p, &v, sizeof(v)); }

  // The candidates among a tile's tokens; a copy, so that stores cannot change it.
  struct Edges {
    int first;
    int end;

    bool cut(int block) const {
      return kScoreBlock * block < first || kScoreBlock * (block + 1) > end;
    }
    // All bits set in the lanes of candidates.
    I inside(int block, int v) const {
      const I token = M::LoadInt(kScoreLanes + v * kWidth) + kScoreBlock * block;
      return (token >= first) & (token < end);
    }
  };

  static int32_t LargestOf(const I (&v)[kVectors]) {
    int32_t lanes[kScoreBlock];
    __builtin_memcpy(lanes, v, sizeof(lanes));
    int32_t top = lanes[0];
    for (const int32_t lane : lanes) top = lane > top ? lane : top;
    return top;
  }
  static float SumOf(const V (&v)[kVectors]) {
    float lanes[kScoreBlock];
    __builtin_memcpy(lanes, v, sizeof(lanes));
    for (int width = kScoreBlock / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
    }
    return lanes[0];
  }

  struct Scale {
    explicit Scale(float x) : factor(M::Set(x)), least(M::Set(kLeastPower / x)) {}
    V factor;
    V least;  // a difference that is as far down as powers go
  };

  // 2^(scale * difference) for differences <= 0, relative error 2e-7; 2^-125 at least.
  static inline V Power(I difference, const Scale& scale) {
    const V x = Isa::Larger(ToFloat(difference), scale.least);
    const V shifted = Isa::MulAdd(x, scale.factor, M::Set(kRound));
    const V f = Isa::MulAdd(x, scale.factor, M::Set(kRound) - shifted);
    // Least maximum of the relative error over [-1/2, 1/2].
    V p = M::Set(1.32647273e-3F);
    p = Isa::MulAdd(p, f, M::Set(9.67151299e-3F));
    p = Isa::MulAdd(p, f, M::Set(5.55073358e-2F));
    p = Isa::MulAdd(p, f, M::Set(2.40222424e-1F));
    p = Isa::MulAdd(p, f, M::Set(6.93147004e-1F));
    p = Isa::MulAdd(p, f, M::Set(1));
    // Of `shifted` only the integer's bits are left over.
    return reinterpret_cast<V>(reinterpret_cast<I>(p) + (reinterpret_cast<I>(shifted) << 23));
  }

  template <int kCount>
  static void ProductsOf(const ScoreTile& t,
                         const ScoreChunk* chunks,
                         int n_chunks,
                         int32_t* rows) {
    const int n_quads = t.n_quads;
    for (int block = 0; block < t.n_blocks; ++block) {
      for (int c = 0; c < n_chunks; ++c) {
        const ScoreChunk& chunk = chunks[c];
        if (chunk.count != kCount) continue;
        const unsigned char* ahead = t.blocks[block + kScoreAheadBlocks] + chunk.group_offset;
        for (int quad = 0; quad < n_quads; ++quad) __builtin_prefetch(ahead + 64 * quad, 0, 2);
        I sums[kCount][kVectors];
        Isa::template Dot<kCount>(
            t.blocks[block] + chunk.group_offset, n_quads, chunk.codes, chunk.start, sums);
        int32_t* out = rows + chunk.row * kScoreStride + kScoreBlock * block;
#pragma GCC unroll 16
        for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v)
            StoreInt(out + i * kScoreStride + v * kWidth, sums[i][v]);
        }
      }
    }
  }

  template <int kCount = 1>
  static void Products(const ScoreTile& t, const ScoreChunk* chunks, int n_chunks, int32_t* rows) {
    bool any = false;
    for (int c = 0; c < n_chunks; ++c) any |= chunks[c].count == kCount;
    if (any) ProductsOf<kCount>(t, chunks, n_chunks, rows);
    if constexpr (kCount < Isa::kMaxQueries) Products<kCount + 1>(t, chunks, n_chunks, rows);
  }

  static int32_t LargestProduct(const ScoreTile& t, const int32_t* row) {
    const Edges edges = {t.first, t.end};
    I top[kVectors];
    for (I& x : top) x = SetInt(kScoreNone);
    for (int block = 0; block < t.n_blocks; ++block, row += kScoreBlock) {
      const bool cut = edges.cut(block);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        I x = M::LoadInt(row + v * kWidth);
        if (cut) x = edges.inside(block, v) ? x : SetInt(kScoreNone);
        top[v] = MaxInt(top[v], x);
      }
    }
    return LargestOf(top);
  }

  template <bool kKeep>
  static void Sum(const ScoreTile& t, int32_t* row, float factor, ScoreState* state) {
    const Edges edges = {t.first, t.end};
    const Scale scale(factor);
    const int32_t tile_top = LargestProduct(t, row);
    const int32_t top = tile_top > state->top ? tile_top : state->top;
    V sums[kVectors] = {};
    for (int block = 0, n = t.n_blocks; block < n; ++block, row += kScoreBlock) {
      const bool cut = edges.cut(block);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        V term = Power(M::LoadInt(row + v * kWidth) - top, scale);
        if (cut) term = edges.inside(block, v) ? term : M::Set(0);
        if constexpr (kKeep) __builtin_memcpy(row + v * kWidth, &term, sizeof(term));
        sums[v] += term;
      }
    }
    state->sum = state->sum * M::First(Power(SetInt(state->top - top), scale)) + SumOf(sums);
    state->top = top;
  }

  static void Add(
      const ScoreTile& t, const int32_t* row, float factor, ScoreState state, float* out) {
    const Scale scale(factor);
    const V weight = M::Set(state.sum);
    for (int i = 0, n = kScoreBlock * t.n_blocks; i < n; i += kWidth) {
      const V term = Power(M::LoadInt(row + i) - state.top, scale);
      M::Store(out + i, Isa::MulAdd(term, weight, M::Load(out + i)));
    }
  }

  template <int kBlocks>
  static inline void WeighBlocks(const float* rows, const float* weights, int n_rows, float* out) {
    V sums[kBlocks * kVectors] = {};
    for (int row = 0; row < n_rows; ++row) {
      const V weight = M::Set(weights[row]);
#pragma GCC unroll 16
      for (int v = 0; v < kBlocks * kVectors; ++v) {
        sums[v] = Isa::MulAdd(M::Load(rows + row * kScoreStride + v * kWidth), weight, sums[v]);
      }
    }
#pragma GCC unroll 16
    for (int v = 0; v < kBlocks * kVectors; ++v) M::Store(out + v * kWidth, sums[v]);
  }

  static void Weigh(
      const ScoreTile& t, const float* rows, const float* weights, int n_rows, float* out) {
    constexpr int kBlocks = 4;
    int block = 0;
    for (; block + kBlocks <= t.n_blocks; block += kBlocks) {
      WeighBlocks<kBlocks>(rows + kScoreBlock * block, weights, n_rows, out + kScoreBlock * block);
    }
    for (; block < t.n_blocks; ++block) {
      WeighBlocks<1>(rows + kScoreBlock * block, weights, n_rows, out + kScoreBlock * block);
    }
  }

  template <int kCount = 1>
  static void Top(const ScoreTile& t, const ScoreChunk& chunk, ScoreState* states) {
    if constexpr (kCount < Isa::kMaxQueries) {
      if (chunk.count != kCount) return Top<kCount + 1>(t, chunk, states);
    }
    const Edges edges = {t.first, t.end};
    I tops[kCount][kVectors];
    for (auto& top : tops) {
      for (I& x : top) x = SetInt(kScoreNone);
    }
    for (int block = 0; block < t.n_blocks; ++block) {
      const bool cut = edges.cut(block);
      I sums[kCount][kVectors];
      Isa::template Dot<kCount>(
          t.blocks[block] + chunk.group_offset, t.n_quads, chunk.codes, chunk.start, sums);
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if (cut) sums[i][v] = edges.inside(block, v) ? sums[i][v] : SetInt(kScoreNone);
          tops[i][v] = MaxInt(tops[i][v], sums[i][v]);
        }
      }
    }
    for (int i = 0; i < kCount; ++i) {
      const int32_t top = LargestOf(tops[i]);
      if (top > states[i].top) states[i].top = top;
    }
  }

  template <int kCount = 1>
  static void Shift(const ScoreTile& t,
                    const ScoreChunk& chunk,
                    const ScoreState* states,
                    float* out) {
    if constexpr (kCount < Isa::kMaxQueries) {
      if (chunk.count != kCount) return Shift<kCount + 1>(t, chunk, states, out);
    }
    for (int block = 0; block < t.n_blocks; ++block) {
      I sums[kCount][kVectors];
      Isa::template Dot<kCount>(
          t.blocks[block] + chunk.group_offset, t.n_quads, chunk.codes, chunk.start, sums);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        float* at = out + kScoreBlock * block + v * kWidth;
        V best = M::Load(at);
#pragma GCC unroll 16
        for (int i = 0; i < kCount; ++i) {
          best = Isa::Larger(ToFloat(sums[i][v] - states[i].top) * chunk.scales[i], best);
        }
        M::Store(at, best);
      }
    }
  }

  static void Exp2(float* x, int64_t n) {
    int64_t i = 0;
    for (; i + kWidth <= n; i += kWidth) M::Store(x + i, M::Exp2(M::Load(x + i)));
    for (; i < n; ++i) x[i] = M::First(M::Exp2(M::Set(x[i])));
  }

  static ScoreKernels Set() {
    return {.max_queries = Isa::kMaxQueries,
            .words = Isa::kWords,
            .products = Products<1>,
            .sum = Sum<false>,
            .sum_keep = Sum<true>,
            .add = Add,
            .weigh = Weigh,
            .top = Top<1>,
            .shift = Shift<1>,
            .exp2 = Exp2,
            .block_tops = BlockTopsImpl<Isa>::template Tops<1>};
  }
};

}  // namespace
}  // namespace keyhole
