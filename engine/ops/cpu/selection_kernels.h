// Kernels of selection, one set per instruction set. Plain C++: see attend_kernels_impl.h.
//
// Scores are made tile by tile: some blocks of 16 tokens, a vector lane per token. Products of
// codes are exact, and sums over tokens keep 16 partial sums for every vector width, so that levels
// agree but for what they may fuse.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace keyhole {

constexpr int kScoreBlock = 16;        // tokens: kDigestBlockTokens
constexpr int kScoreTileBlocks = 32;   // at most, of a tile
constexpr int kScoreAheadBlocks = 12;  // fetched into the cache before they are needed
// Between rows of a tile's products; the padding keeps rows out of one another's cache sets.
constexpr int kScoreStride = kScoreBlock * kScoreTileBlocks + 16;
constexpr int kScoreMaxQueries = 8;  // of a chunk, at any level

struct DigestTask {
  const float* key;  // [in_dim]
  const float* map;  // [rank, in_dim]
  int rank;          // a multiple of 4
  int in_dim;
  unsigned char* out;  // first of rank / 4 words of four codes, 64 bytes apart
};

struct ScoreTile {
  const unsigned char* const* blocks;  // [n_blocks + kScoreAheadBlocks]
  int n_blocks;
  int first;  // of the tile's 16 * n_blocks tokens those in [first, end) are candidates
  int end;
  int n_quads;  // rank / 4
};

// Some queries that meet one group.
struct ScoreChunk {
  ptrdiff_t group_offset;  // bytes from a block's begin
  const int32_t* codes;    // [n_quads][words][count]; one word: four codes; two words: codes 0 and
                           // 2, codes 1 and 3, in 16 bits each
  const int32_t* start;    // [count]: -kDigestBias * sum of the codes
  const float* scales;     // [count]
  int count;
  int row;    // of the first query, where rows of products are written
  int query;  // the first one, in the order of packing
  int batch;  // of probes
};

constexpr int kRankAheadBlocks = 64;  // fetched into the cache before they are needed
constexpr int kMostCoarseLines = 3;

// Lines of coarse digests hold planes: four dimensions of 16 tokens in some bits of each byte,
// which stand for multiples of 16.
struct CoarsePlane {
  int line;
  int shift;  // to the right; -1: to the left
  int mask;
};
constexpr int CoarsePlanes(int n_lines) { return 4 * n_lines - 2; }
constexpr CoarsePlane CoarsePlaneAt(int plane) {
  if (plane < 2) return {0, 4 * plane, 15};
  return {(plane + 2) / 4, 2 * ((plane + 2) % 4) - 1, 6};
}

// Some blocks of coarse digests against some queries: those of each group, one group after another.
struct BlockTopsTask {
  const unsigned char* const* blocks;  // [n_blocks + kRankAheadBlocks]
  int n_blocks;
  int n_groups;
  int n_lines;           // of a group, at most kMostCoarseLines
  const int32_t* codes;  // [n_groups][n_queries][CoarsePlanes(n_lines)] words of four
  int n_queries;         // of a group
  int32_t* tops;  // [n_groups * n_queries], kScoreStride apart, each with room for n_blocks and 16
};

constexpr int32_t kScoreNone = -(1 << 30);  // below any product of codes

// Of one query over some tiles: the largest product, the sum of 2^(scale * (product - top)).
struct ScoreState {
  int32_t top;
  float sum;
};

struct ScoreKernels {
  int max_queries;  // of a chunk
  int words;        // of ScoreChunk::codes
  // rows[chunk.row + i][token] = product with query i.
  void (*products)(const ScoreTile&, const ScoreChunk*, int n_chunks, int32_t* rows);
  // Adds a row of products to `state`; `sum_keep` replaces them by the terms of the sum, 0 where
  // no candidate is.
  void (*sum)(const ScoreTile&, int32_t* row, float scale, ScoreState* state);
  void (*sum_keep)(const ScoreTile&, int32_t* row, float scale, ScoreState* state);
  // out[token] += 2^(scale * (row[token] - state.top)) * state.sum.
  void (*add)(const ScoreTile&, const int32_t* row, float scale, ScoreState, float* out);
  // out[token] = sum over rows of weight * row[token].
  void (*weigh)(const ScoreTile&, const float* rows, const float* weights, int n_rows, float* out);
  // The largest product alone.
  void (*top)(const ScoreTile&, const ScoreChunk&, ScoreState* states);
  // out[token] = max(out[token], scale * (product - top)) over the queries.
  void (*shift)(const ScoreTile&, const ScoreChunk&, const ScoreState* states, float* out);
  void (*exp2)(float* x, int64_t n);
  // tops[query][block] = largest product with one of the block's tokens.
  void (*block_tops)(const BlockTopsTask&);
};

struct SelectionKernels {
  void (*digest)(const DigestTask&);
  ScoreKernels score;
  // out[i] = max(a[i], b[i]); `out` may be `a`, and then `b` may be a later part of it.
  void (*max_of)(const float* a, const float* b, int64_t n, float* out);
  // How many x[i] >= bound.
  int64_t (*count_from)(const float* x, int64_t n, float bound);
  // Writes first + i where x[i] >= bound, ascending; returns how many.
  int64_t (*rows_from)(const float* x, int64_t n, float bound, int32_t first, int32_t* rows);
};

SelectionKernels SelectionKernelsPortable();
SelectionKernels SelectionKernelsAvx2();
SelectionKernels SelectionKernelsAvx512();
SelectionKernels SelectionKernelsAvx512Vnni();

}  // namespace keyhole
