// Panels of 4-bit codes times many tiles of rows with AVX2: a panel's codes are laid open once, one
// a byte, with their scales in f32, and stay in the nearest cache while tiles pass by. Every output
// is summed as LinearKernelsImpl does it and has the same bits.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/linear_dot_avx2.h"
#include "engine/ops/cpu/linear_kernels.h"

namespace keyhole {
namespace {

template <bool kOffsets, bool kZero>
struct OpenKernel {
  static constexpr int kMostRows = 4;  // as many sums of two vectors as registers hold
  static constexpr int kCodeBytes = kBlock * kPanelColumns / 2;
  static constexpr int kScaleValues = kPanelColumns * (kOffsets ? 2 : 1);

  // An open block is [8][16][4] codes, [16] scales and, with offsets, [16] offsets.
  static constexpr int kScalesAt = 2 * kCodeBytes;
  static constexpr int kBlockBytes = kScalesAt + kScaleValues * 4;

  // Blocks [first, last) of a panel. All of a long one leave no room for tiles in the nearest
  // cache.
  struct Piece {
    static constexpr int64_t kMostBlocks = (20 << 10) / kBlockBytes;
    alignas(64) unsigned char open[kMostBlocks * kBlockBytes];
    int64_t first;
    int64_t last;
    const float* bias;  // added after the last block, or null
  };

  // Lays a block open and asks for that of the next panel.
  static inline __attribute__((always_inline)) void OpenBlock(const LinearPanels& w,
                                                              const unsigned char* panel,
                                                              int64_t block,
                                                              unsigned char* to) {
    const unsigned char* codes = panel + block * kCodeBytes;
    const unsigned char* scales =
        panel + w.scales_at + block * kScaleValues * (w.half_scales ? 2 : 4);
#pragma GCC unroll 4
    for (int i = 0; i < kCodeBytes; i += 64) __builtin_prefetch(codes + w.panel_bytes + i, 0, 2);
    __builtin_prefetch(scales + w.panel_bytes, 0, 2);
    auto* open = reinterpret_cast<__m256i*>(to);
#pragma GCC unroll 8
    for (int i = 0; i < kCodeBytes / 32; ++i) {
      const __m256i raw = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes) + i);
      _mm256_store_si256(open + i, LowNibbles(raw));
      _mm256_store_si256(open + kCodeBytes / 32 + i, HighNibbles(raw));
    }
    auto* values = reinterpret_cast<float*>(to + kScalesAt);
#pragma GCC unroll 4
    for (int i = 0; i < kScaleValues; i += 8) {
      const __m256 eight =
          w.half_scales
              ? _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(scales + 2 * i)))
              : _mm256_load_ps(reinterpret_cast<const float*>(scales) + i);
      _mm256_store_ps(values + i, eight);
    }
  }

  // Adds what an open block contributes. Sums lie in memory, to leave the registers to integers.
  template <int kRows>
  static inline __attribute__((always_inline)) void AddBlock(const unsigned char* block,
                                                             const LinearInput& x,
                                                             float* sums) {
    BlockDot<kRows> dot;
    dot.Open(block, x.codes);
    const auto* scales = reinterpret_cast<const float*>(block + kScalesAt);
    __m256 scale[2] = {_mm256_load_ps(scales), _mm256_load_ps(scales + 8)};
    __m256 offset[2] = {};
    asm("" : "+x"(scale[0]), "+x"(scale[1]));  // or they are loaded again for each row
    if constexpr (kOffsets) {
      offset[0] = _mm256_load_ps(scales + 16);
      offset[1] = _mm256_load_ps(scales + 24);
      asm("" : "+x"(offset[0]), "+x"(offset[1]));
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256 x_scale = _mm256_set1_ps(x.scales[r]);
      const __m256 x_sum = _mm256_set1_ps(x.scales[kRows + r]);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) {
        __m256i product = SumPairs(dot.sums[r][v], 1);
        if constexpr (kZero) product = _mm256_add_epi32(product, _mm256_set1_epi32(x.start[r]));
        float* at = sums + r * kPanelColumns + 8 * v;
        __m256 sum = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(product), _mm256_mul_ps(scale[v], x_scale), _mm256_load_ps(at));
        if constexpr (kOffsets) sum = _mm256_fmadd_ps(offset[v], x_sum, sum);
        _mm256_store_ps(at, sum);
      }
    }
  }

  // The first tile lays the piece open on its way, kOpen: it finds it open.
  template <bool kOpen, int kRows>
  static __attribute__((noinline)) void Tile(const LinearPanels& w,
                                             const unsigned char* panel,
                                             Piece& piece,
                                             const LinearInput& tile,
                                             const LinearOutput& out) {
    if constexpr (kRows < kMostRows) {
      if (tile.n_rows != kRows) return Tile<kOpen, kRows + 1>(w, panel, piece, tile, out);
    }
    alignas(32) float memory[kRows * kPanelColumns];
    float* sums = memory;
    asm("" : "+r"(sums));
    for (int i = 0; i < 2 * kRows; ++i) {
      const float* at = out.data + i / 2 * out.stride + i % 2 * 8;
      _mm256_store_ps(sums + 8 * i, piece.first == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(at));
    }
    LinearInput x = tile;
    x.codes += piece.first * kBlockWords * kRows;
    x.start += piece.first * kRows;
    x.scales += piece.first * 2 * kRows;
    unsigned char* open = piece.open;
    for (int64_t b = piece.first; b < piece.last; ++b) {
      if constexpr (!kOpen) OpenBlock(w, panel, b, open);
      asm("" : "+m"(*reinterpret_cast<float(*)[kRows * kPanelColumns]>(sums)));
      AddBlock<kRows>(open, x, sums);
      open += kBlockBytes;
      x.codes += kBlockWords * kRows;
      x.start += kRows;
      x.scales += 2 * kRows;
    }
    for (int i = 0; i < 2 * kRows; ++i) {
      __m256 sum = _mm256_load_ps(sums + 8 * i);
      if (piece.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(piece.bias + i % 2 * 8));
      _mm256_storeu_ps(out.data + i / 2 * out.stride + i % 2 * 8, sum);
    }
  }

  // All rows of a panel, in pieces of nearly equal length.
  static void Panel(const LinearPanels& w,
                    int64_t panel,
                    const LinearTiles& tiles,
                    const LinearOutput& out) {
    Piece piece;
    const unsigned char* codes = w.data + panel * w.panel_bytes;
    const int64_t column = panel * kPanelColumns;
    const int64_t n_blocks = w.n_in / kBlock;
    const int64_t n_pieces = (n_blocks + Piece::kMostBlocks - 1) / Piece::kMostBlocks;
    for (int64_t p = 0; p < n_pieces; ++p) {
      piece.first = n_blocks * p / n_pieces;
      piece.last = n_blocks * (p + 1) / n_pieces;
      piece.bias = w.bias == nullptr || p + 1 < n_pieces ? nullptr : w.bias + column;
      LinearOutput to = {out.data + column, out.stride};
      for (int64_t t = 0; t < tiles.n_tiles; ++t) {
        (t == 0 ? Tile<false, 1> : Tile<true, 1>)(w, codes, piece, tiles.tiles[t], to);
        to.data += tiles.tiles[t].n_rows * out.stride;
      }
    }
  }

  // Panels that are filled.
  static void Run(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
    for (int64_t p = 0; p < w.n_columns / kPanelColumns; ++p) Panel(w, p, tiles, out);
  }
};

}  // namespace
}  // namespace keyhole
