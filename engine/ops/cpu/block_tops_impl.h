// Largest products of blocks' coarse digests. Part of selection_kernels_impl.h: no library function
// is called.
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
  static_assert(2 * kWidth <= kRankAheadBlocks);

  static inline I Larger(I a, I b) { return a > b ? a : b; }

  // As many blocks as a vector has lanes.
  template <int kSets>
  static inline void Group(const BlockTopsTask& t, int block) {
    const unsigned char* const* blocks = t.blocks + block;
    const unsigned char* const* ahead = blocks + kRankAheadBlocks - kWidth;
    const int32_t* codes = t.codes;
    int32_t* out = t.tops + block;
    for (int group = 0; group < t.n_groups; ++group) {
      for (int i = 0; i < t.n_queries; ++i, codes += 2 * kSets, out += kScoreStride) {
        I rows[kWidth];
#pragma GCC unroll 16
        for (int r = 0; r < kWidth; ++r) {
          I sums[kVectors];
          Isa::template NibbleDot<kSets>(blocks[r] + group * kSets * 64, codes, sums);
          // One by one: many at a time would hold up the loads.
          for (int set = i; set < kSets; set += t.n_queries) {
            __builtin_prefetch(ahead[r] + (group * kSets + set) * 64, 0, 2);
          }
          rows[r] = sums[0];
#pragma GCC unroll 4
          for (int v = 1; v < kVectors; ++v) rows[r] = Larger(rows[r], sums[v]);
        }
        const I tops = Isa::LargestOfRows(rows);
        __builtin_memcpy(out, &tops, sizeof(tops));
      }
    }
  }

  template <int kSets>
  static void Groups(const BlockTopsTask& t) {
    for (int block = 0; block < t.n_blocks; block += kWidth) Group<kSets>(t, block);
  }

  static void Run(const BlockTopsTask& t) {
    switch (t.n_sets) {
      case 1:
        return Groups<1>(t);
      case 2:
        return Groups<2>(t);
      case 3:
        return Groups<3>(t);
      default:
        return Groups<4>(t);
    }
  }
};

}  // namespace
}  // namespace keyhole
