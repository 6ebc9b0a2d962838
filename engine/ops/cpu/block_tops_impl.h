// Largest products of blocks. Part of selection_kernels_impl.h: no library function is called.
#pragma once

#include "engine/ops/cpu/selection_kernels.h"
#include "engine/ops/cpu/vector_math.h"

namespace keyhole {
namespace {

template <class Isa>
struct BlockTopsImpl {
  using M = VectorMath<Isa>;
  using I = typename M::I;
  static constexpr int kWidth = Isa::kWidth;
  static constexpr int kVectors = kScoreBlock / kWidth;
  static_assert(kWidth <= kRankAheadBlocks);

  static inline I Larger(I a, I b) { return a > b ? a : b; }

  // As many blocks as a vector has lanes.
  template <int kQuads>
  static inline void Group(const BlockTopsTask& t, int block) {
    const SomeQuads<kQuads> quads = {t.n_quads, t.quads};
    const unsigned char* const* blocks = t.blocks + block;
    for (int i = 0; i < kWidth; ++i) {
      const unsigned char* ahead = blocks[kRankAheadBlocks - kWidth + i] + t.group_offset;
      for (int q = 0; q < quads.count(); ++q) __builtin_prefetch(ahead + quads.offset(q), 0, 2);
    }
    for (int query = 0; query < t.n_queries; ++query) {
      const int32_t* codes = t.codes + query * quads.count() * Isa::kWords;
      I rows[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        I sums[1][kVectors];
        Isa::template Dot<1>(blocks[i] + t.group_offset, quads, codes, t.start + query, sums);
        rows[i] = sums[0][0];
#pragma GCC unroll 4
        for (int v = 1; v < kVectors; ++v) rows[i] = Larger(rows[i], sums[0][v]);
      }
      const I tops = Isa::LargestOfRows(rows);
      __builtin_memcpy(t.tops + query * kScoreStride + block, &tops, sizeof(tops));
    }
  }

  template <int kQuads>
  static void Groups(const BlockTopsTask& t) {
    for (int block = 0; block < t.n_blocks; block += kWidth) Group<kQuads>(t, block);
  }

  static void Run(const BlockTopsTask& t) {
    switch (t.n_quads) {
      case 1:
        return Groups<1>(t);
      case 2:
        return Groups<2>(t);
      case 3:
        return Groups<3>(t);
      case 4:
        return Groups<4>(t);
      default:
        return Groups<0>(t);
    }
  }
};

}  // namespace
}  // namespace keyhole
