// Bodies of the score kernels. Part of selection_kernels_impl.h: no library function is called.
#pragma once

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
  static constexpr int32_t kLeast = -0x7FFFFFFF - 1;
  static_assert(Isa::kMaxQueries <= kScoreMaxQueries);

  static inline I SetInt(int32_t x) { return I{} + x; }
  static inline I MaxInt(I a, I b) { return a > b ? a : b; }
  static inline V ToFloat(I x) { return __builtin_convertvector(x, V); }

  static inline bool IsEdge(const ScoreTile& t, int block) {
    return kScoreBlock * block < t.first || kScoreBlock * (block + 1) > t.end;
  }
  // All bits set in the lanes of candidates.
  static inline I Inside(const ScoreTile& t, int block, int v) {
    const I token = M::LoadInt(kScoreLanes + v * kWidth) + kScoreBlock * block;
    return (token >= t.first) & (token < t.end);
  }

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

  static inline void Prefetch(const unsigned char* from, int n_quads) {
    for (int quad = 0; quad < n_quads; ++quad) __builtin_prefetch(from + 64 * quad);
  }

  template <int kCount = 1>
  static inline void BlockProducts(const ScoreTile& t,
                                   int block,
                                   const ScoreChunk& chunk,
                                   int32_t* rows) {
    if constexpr (kCount < Isa::kMaxQueries) {
      if (chunk.count != kCount) return BlockProducts<kCount + 1>(t, block, chunk, rows);
    }
    I sums[kCount][kVectors];
    Isa::template Dot<kCount>(
        t.blocks[block] + chunk.group_offset, t.n_quads, chunk.codes, chunk.start, sums);
    int32_t* out = rows + chunk.row * kScoreStride + kScoreBlock * block;
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) __builtin_memcpy(out + i * kScoreStride, sums[i], 64);
  }

  static void Products(const ScoreTile& t, const ScoreChunk* chunks, int n_chunks, int32_t* rows) {
    for (int block = 0; block < t.n_blocks; ++block) {
      const unsigned char* ahead = t.blocks[block + kScoreAheadBlocks];
      for (int c = 0; c < n_chunks; ++c) {
        Prefetch(ahead + chunks[c].group_offset, t.n_quads);
        BlockProducts(t, block, chunks[c], rows);
      }
    }
  }

  static int32_t LargestProduct(const ScoreTile& t, const int32_t* row) {
    I top[kVectors];
    for (I& x : top) x = SetInt(kLeast);
    for (int block = 0; block < t.n_blocks; ++block) {
      for (int v = 0; v < kVectors; ++v) {
        I x = M::LoadInt(row + kScoreBlock * block + v * kWidth);
        if (IsEdge(t, block)) x = Inside(t, block, v) ? x : SetInt(kLeast);
        top[v] = MaxInt(top[v], x);
      }
    }
    return LargestOf(top);
  }

  template <bool kKeep>
  static void Sum(const ScoreTile& t, int32_t* row, float scale, ScoreState* state) {
    const float tile_max = static_cast<float>(LargestProduct(t, row)) * scale;
    const float max = tile_max > state->max ? tile_max : state->max;
    V sums[kVectors] = {};
    for (int block = 0; block < t.n_blocks; ++block) {
      for (int v = 0; v < kVectors; ++v) {
        int32_t* at = row + kScoreBlock * block + v * kWidth;
        V term = M::Exp2(ToFloat(M::LoadInt(at)) * scale - max);
        if (IsEdge(t, block)) term = Inside(t, block, v) ? term : M::Set(0);
        if constexpr (kKeep) __builtin_memcpy(at, &term, sizeof(term));
        sums[v] += term;
      }
    }
    state->sum = state->sum * M::First(M::Exp2(M::Set(state->max - max))) + SumOf(sums);
    state->max = max;
  }

  static void Add(
      const ScoreTile& t, const int32_t* row, float scale, ScoreState state, float* out) {
    const V weight = M::Set(state.sum);
    for (int i = 0; i < kScoreBlock * t.n_blocks; i += kWidth) {
      const V term = M::Exp2(ToFloat(M::LoadInt(row + i)) * scale - state.max);
      M::Store(out + i, Isa::MulAdd(term, weight, M::Load(out + i)));
    }
  }

  static void Weigh(
      const ScoreTile& t, const float* rows, const float* weights, int n_rows, float* out) {
    for (int i = 0; i < kScoreBlock * t.n_blocks; i += kWidth) {
      V sum = {};
      for (int row = 0; row < n_rows; ++row) {
        sum = Isa::MulAdd(M::Load(rows + row * kScoreStride + i), M::Set(weights[row]), sum);
      }
      M::Store(out + i, sum);
    }
  }

  template <int kCount = 1>
  static void Top(const ScoreTile& t, const ScoreChunk& chunk, ScoreState* states) {
    if constexpr (kCount < Isa::kMaxQueries) {
      if (chunk.count != kCount) return Top<kCount + 1>(t, chunk, states);
    }
    I tops[kCount][kVectors];
    for (auto& top : tops) {
      for (I& x : top) x = SetInt(kLeast);
    }
    for (int block = 0; block < t.n_blocks; ++block) {
      I sums[kCount][kVectors];
      Isa::template Dot<kCount>(
          t.blocks[block] + chunk.group_offset, t.n_quads, chunk.codes, chunk.start, sums);
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          if (IsEdge(t, block)) sums[i][v] = Inside(t, block, v) ? sums[i][v] : SetInt(kLeast);
          tops[i][v] = MaxInt(tops[i][v], sums[i][v]);
        }
      }
    }
    for (int i = 0; i < kCount; ++i) {
      const float top = static_cast<float>(LargestOf(tops[i])) * chunk.scales[i];
      if (top > states[i].max) states[i].max = top;
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
          best = M::Max(ToFloat(sums[i][v]) * chunk.scales[i] - states[i].max, best);
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
            .products = Products,
            .sum = Sum<false>,
            .sum_keep = Sum<true>,
            .add = Add,
            .weigh = Weigh,
            .top = Top<1>,
            .shift = Shift<1>,
            .exp2 = Exp2};
  }
};

}  // namespace
}  // namespace keyhole
