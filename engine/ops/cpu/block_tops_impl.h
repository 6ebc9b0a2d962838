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
  static constexpr int kMostQueries = 4;  // that share what is unpacked
  static_assert(2 * kWidth <= kRankAheadBlocks);

  // As many blocks as a vector has lanes, with some queries of one group.
  struct Part {
    const unsigned char* const* blocks;
    ptrdiff_t group_offset;
    const int32_t* codes;
    int32_t* tops;
    int first_line;  // of the group's lines that are fetched for later
    int end_line;
  };

  static inline I Larger(I a, I b) { return a > b ? a : b; }

  template <int kLines, int kCount>
  static inline void Run(const Part& p) {
    I rows[kCount][kWidth];
    for (int r = 0; r < kWidth; ++r) {
      I sums[kCount][kVectors];
      Isa::template CoarseDot<kLines, kCount>(p.blocks[r] + p.group_offset, p.codes, sums);
      // A few at a time: many would hold up the loads.
      const unsigned char* later = p.blocks[r + kRankAheadBlocks - kWidth] + p.group_offset;
      for (int line = p.first_line; line < p.end_line; ++line) {
        __builtin_prefetch(later + 64 * line, 0, 2);
      }
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        rows[i][r] = sums[i][0];
#pragma GCC unroll 4
        for (int v = 1; v < kVectors; ++v) rows[i][r] = Larger(rows[i][r], sums[i][v]);
      }
    }
    for (int i = 0; i < kCount; ++i) {
      const I tops = Isa::LargestOfRows(rows[i]);
      __builtin_memcpy(p.tops + i * kScoreStride, &tops, sizeof(tops));
    }
  }

  template <int kLines, int kCount = kMostQueries>
  static inline void RunSome(const Part& p, int count) {
    if constexpr (kCount > 1) {
      if (count < kCount) return RunSome<kLines, kCount - 1>(p, count);
    }
    Run<kLines, kCount>(p);
  }

  template <int kLines>
  static void Groups(const BlockTopsTask& t, int block) {
    Part part = {.blocks = t.blocks + block,
                 .group_offset = 0,
                 .codes = t.codes,
                 .tops = t.tops + block,
                 .first_line = 0,
                 .end_line = 0};
    for (int group = 0; group < t.n_groups; ++group, part.group_offset += 64 * kLines) {
      for (int left = t.n_queries, line = 0; left > 0;) {
        const int count = left < kMostQueries ? left : kMostQueries;
        left -= count;
        part.first_line = line;
        part.end_line = line = left == 0 || line + count > kLines ? kLines : line + count;
        RunSome<kLines>(part, count);
        part.codes += CoarsePlanes(kLines) * count;
        part.tops += kScoreStride * count;
      }
    }
  }

  template <int kLines = 1>
  static void Tops(const BlockTopsTask& t) {
    if constexpr (kLines < kMostCoarseLines) {
      if (t.n_lines != kLines) return Tops<kLines + 1>(t);
    }
    for (int block = 0; block < t.n_blocks; block += kWidth) Groups<kLines>(t, block);
  }
};

}  // namespace
}  // namespace keyhole
