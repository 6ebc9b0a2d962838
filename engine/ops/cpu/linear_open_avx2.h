// int8 panels times several tiles of rows with AVX2: a panel's codes are laid open once, one a
// byte, with their scales in f32, and stay in the nearest cache while tiles pass by. Every output
// is summed as LinearKernelsImpl does it and has the same bits.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/linear_kernels.h"

namespace keyhole {
namespace {

// What is open at a time: a piece of a panel. An open block is [8][16][4] codes (of 8 bits: low
// nibbles, then as many high ones), [16] scales and, with offsets, [16] offsets.
template <int kBits, bool kOffsets>
struct OpenPiece {
  static constexpr int kVector = 32;  // bytes
  static constexpr int kNibbleBytes = kBlock * kPanelColumns;
  static constexpr int kCodeBytes = kNibbleBytes * (kBits / 4);
  static constexpr int kScaleBytes = kPanelColumns * 4;
  static constexpr int kBlockBytes = kCodeBytes + kScaleBytes * (kOffsets ? 2 : 1);
  static constexpr int64_t kMostBlocks = (20 << 10) / kBlockBytes;

  alignas(64) unsigned char data[kMostBlocks * kBlockBytes];

  static void Open(const unsigned char* codes, unsigned char* to) {
    const __m256i nibble = _mm256_set1_epi8(15);
    // High nibbles of 4-bit codes are the second half of the groups.
    constexpr int kHigh = kBits == 4 ? kNibbleBytes / 2 : kNibbleBytes;
#pragma GCC unroll 16
    for (int i = 0; i < kNibbleBytes * kBits / 8; i += kVector) {
      const __m256i raw = _mm256_load_si256(reinterpret_cast<const __m256i*>(codes + i));
      const __m256i high = _mm256_and_si256(_mm256_srli_epi16(raw, 4), nibble);
      auto* at = reinterpret_cast<__m256i*>(to + i);
      _mm256_store_si256(at, _mm256_and_si256(raw, nibble));
      _mm256_store_si256(at + kHigh / kVector, high);
    }
  }

  static void OpenScales(const unsigned char* from, bool half, unsigned char* to) {
#pragma GCC unroll 4
    for (int i = 0; i < (kOffsets ? 2 : 1) * kPanelColumns; i += 8) {
      const __m256 values =
          half ? _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(from + 2 * i)))
               : _mm256_load_ps(reinterpret_cast<const float*>(from) + i);
      _mm256_store_ps(reinterpret_cast<float*>(to) + i, values);
    }
  }
};

template <int kBits, bool kOffsets, bool kZero>
struct OpenKernel {
  using Piece = OpenPiece<kBits, kOffsets>;
  static constexpr int kMostRows = 4;  // as many sums of two vectors as registers hold
  static constexpr int kCodeBytes = kBlock * kPanelColumns * kBits / 8;  // as they are stored

  // In this order, which compilers do not keep: two products and two sums are handed to the units
  // together, and sums leave the units of products free.
  static inline __attribute__((always_inline)) void AddProducts(__m256i left,
                                                                __m256i right,
                                                                __m256i x,
                                                                __m256i* sums) {
    __m256i first;
    __m256i second;
    asm("vpmaddubsw %[x], %[left], %[first]\n\t"
        "vpmaddubsw %[x], %[right], %[second]\n\t"
        "vpaddw %[first], %[sum], %[sum]\n\t"
        "vpaddw %[second], %[other], %[other]"
        : [first] "=&x"(first), [second] "=&x"(second), [sum] "+&x"(sums[0]), [other] "+&x"(sums[1])
        : [x] "x"(x), [left] "x"(left), [right] "x"(right));
  }

  // [rows][columns / 8] sums of a block in 16 bits: see linear_dot_pairs.h.
  template <int kRows>
  static inline __attribute__((always_inline)) void Dot(const unsigned char* codes,
                                                        const int32_t* x,
                                                        __m256i (*sums)[2]) {
#pragma GCC unroll 8
    for (int g = 0; g < kBlockWords; ++g) {
      const auto* from = reinterpret_cast<const __m256i*>(codes) + 2 * g;
      __m256i left = _mm256_load_si256(from);
      __m256i right = _mm256_load_si256(from + 1);
      asm("" : "+x"(left), "+x"(right));  // or they are loaded again for each row
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const __m256i xr = _mm256_set1_epi32(x[r * kBlockWords + g]);
        if (g == 0) {
          sums[r][0] = _mm256_maddubs_epi16(left, xr);
          sums[r][1] = _mm256_maddubs_epi16(right, xr);
        } else {
          AddProducts(left, right, xr, sums[r]);
        }
      }
    }
  }

  // Adds what a block contributes. Sums lie in memory, to leave the registers to integers.
  template <int kRows>
  static inline __attribute__((always_inline)) void AddBlock(const unsigned char* block,
                                                             const LinearInput& x,
                                                             float* sums) {
    alignas(32) int32_t high[kRows * kPanelColumns];
    __m256i dots[kRows][2];
    if constexpr (kBits == 8) {
      Dot<kRows>(block + Piece::kNibbleBytes, x.codes, dots);
#pragma GCC unroll 8
      for (int i = 0; i < 2 * kRows; ++i) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(high) + i,
                           _mm256_madd_epi16(dots[i / 2][i % 2], _mm256_set1_epi16(16)));
      }
    }
    Dot<kRows>(block, x.codes, dots);
    const auto* scales = reinterpret_cast<const float*>(block + Piece::kCodeBytes);
    __m256 scale[2] = {_mm256_load_ps(scales), _mm256_load_ps(scales + 8)};
    __m256 offset[2] = {};
    asm("" : "+x"(scale[0]), "+x"(scale[1]));
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
        __m256i dot = _mm256_madd_epi16(dots[r][v], _mm256_set1_epi16(1));
        if constexpr (kZero) dot = _mm256_add_epi32(dot, _mm256_set1_epi32(x.start[r]));
        if constexpr (kBits == 8) {
          dot = _mm256_add_epi32(
              dot, _mm256_load_si256(reinterpret_cast<const __m256i*>(high) + 2 * r + v));
        }
        float* at = sums + r * kPanelColumns + 8 * v;
        __m256 sum = _mm256_fmadd_ps(
            _mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale[v], x_scale), _mm256_load_ps(at));
        if constexpr (kOffsets) sum = _mm256_fmadd_ps(offset[v], x_sum, sum);
        _mm256_store_ps(at, sum);
      }
    }
  }

  // Blocks [first, last) of a panel, which are open.
  struct Part {
    const unsigned char* open;
    const unsigned char* next;  // codes to fetch ahead meanwhile, or null
    const float* bias;          // after the last block, or null
    int64_t first;
    int64_t last;
  };

  template <int kRows>
  static __attribute__((noinline)) void Tile(const Part& part,
                                             const LinearInput& tile,
                                             const LinearOutput& out) {
    if constexpr (kRows < kMostRows) {
      if (tile.n_rows != kRows) return Tile<kRows + 1>(part, tile, out);
    }
    alignas(32) float memory[kRows * kPanelColumns];
    float* sums = memory;
    asm("" : "+r"(sums));
    for (int i = 0; i < 2 * kRows; ++i) {
      const float* at = out.data + i / 2 * out.stride + i % 2 * 8;
      _mm256_store_ps(sums + 8 * i, part.first == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(at));
    }
    LinearInput x = tile;
    x.codes += part.first * kBlockWords * kRows;
    x.start += part.first * kRows;
    x.scales += part.first * 2 * kRows;
    const unsigned char* open = part.open;
    const unsigned char* next = part.next;
    for (int64_t b = part.first; b < part.last; ++b) {
      if (next != nullptr) {
#pragma GCC unroll 8
        for (int i = 0; i < kCodeBytes; i += 64) __builtin_prefetch(next + i, 0, 2);
        next += kCodeBytes;
      }
      asm("" : "+m"(*reinterpret_cast<float(*)[kRows * kPanelColumns]>(sums)));
      AddBlock<kRows>(open, x, sums);
      open += Piece::kBlockBytes;
      x.codes += kBlockWords * kRows;
      x.start += kRows;
      x.scales += 2 * kRows;
    }
    for (int i = 0; i < 2 * kRows; ++i) {
      __m256 sum = _mm256_load_ps(sums + 8 * i);
      if (part.bias != nullptr) sum = _mm256_add_ps(sum, _mm256_loadu_ps(part.bias + i % 2 * 8));
      _mm256_storeu_ps(out.data + i / 2 * out.stride + i % 2 * 8, sum);
    }
  }

  // A whole panel, in pieces of nearly equal length.
  static void Panel(const LinearPanels& w,
                    const unsigned char* panel,
                    const float* bias,
                    const LinearTiles& tiles,
                    const LinearOutput& out) {
    Piece piece;
    const int64_t n_blocks = w.n_in / kBlock;
    const int64_t n_pieces = (n_blocks + Piece::kMostBlocks - 1) / Piece::kMostBlocks;
    const ptrdiff_t scale_bytes = (w.half_scales ? 2 : 4) * kPanelColumns * (kOffsets ? 2 : 1);
    for (int64_t p = 0; p < n_pieces; ++p) {
      const int64_t first = n_blocks * p / n_pieces;
      const int64_t last = n_blocks * (p + 1) / n_pieces;
      unsigned char* to = piece.data;
      for (int64_t b = first; b < last; ++b, to += Piece::kBlockBytes) {
        Piece::Open(panel + b * kCodeBytes, to);
        Piece::OpenScales(
            panel + w.scales_at + b * scale_bytes, w.half_scales, to + Piece::kCodeBytes);
      }
      Part part = {piece.data, nullptr, p + 1 == n_pieces ? bias : nullptr, first, last};
      part.next = panel + w.panel_bytes + first * kCodeBytes;
      LinearOutput to_rows = out;
      for (int64_t t = 0; t < tiles.n_tiles; ++t) {
        Tile<1>(part, tiles.tiles[t], to_rows);
        to_rows.data += tiles.tiles[t].n_rows * out.stride;
        part.next = nullptr;
      }
    }
  }

  static void Run(const LinearPanels& w, const LinearTiles& tiles, const LinearOutput& out) {
    for (int64_t p = 0; p < w.n_columns / kPanelColumns; ++p) {
      const int64_t column = p * kPanelColumns;
      Panel(w,
            w.data + p * w.panel_bytes,
            w.bias == nullptr ? nullptr : w.bias + column,
            tiles,
            {out.data + column, out.stride});
    }
  }
};

}  // namespace
}  // namespace keyhole
