// Integer products of a block with AVX2: bytes u8 * s8, two and two in 16 bits. They stay far from
// saturation since codes are taken as nibbles: eight groups sum to at most 8 * 2 * 15 * 127 =
// 30480.
#pragma once

#include <immintrin.h>

#include "engine/ops/cpu/byte_products_avx2.h"
#include "engine/ops/cpu/linear_kernels.h"

namespace keyhole {
namespace {

inline __m256i LowNibbles(__m256i b) { return _mm256_and_si256(b, _mm256_set1_epi8(15)); }
inline __m256i HighNibbles(__m256i b) { return LowNibbles(_mm256_srli_epi16(b, 4)); }

template <int kRows>
struct BlockDot {
  __m256i sums[kRows][2];  // [rows][columns / 8], two 16-bit sums a column

  template <bool kFirst>
  inline __attribute__((always_inline)) void Add(const TwoVectors& codes, const int32_t* x) {
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const __m256i xr = _mm256_set1_epi32(x[r * kBlockWords]);
      if constexpr (kFirst) {
        sums[r][0] = _mm256_maddubs_epi16(codes.left, xr);
        sums[r][1] = _mm256_maddubs_epi16(codes.right, xr);
      } else if constexpr (kRows == 1) {  // compilers may join its few sums as they like
        sums[r][0] = _mm256_add_epi16(sums[r][0], _mm256_maddubs_epi16(codes.left, xr));
        sums[r][1] = _mm256_add_epi16(sums[r][1], _mm256_maddubs_epi16(codes.right, xr));
      } else {
        AddProducts(codes, xr, sums[r]);
      }
    }
  }

  static inline __attribute__((always_inline)) TwoVectors LoadGroup(const unsigned char* codes) {
    const auto* from = reinterpret_cast<const __m256i*>(codes);
    TwoVectors group = {_mm256_load_si256(from), _mm256_load_si256(from + 1)};
    // Or they are loaded again for each row.
    if constexpr (kRows > 1) asm("" : "+x"(group.left), "+x"(group.right));
    return group;
  }

  // Codes that are laid open: [8][16][4] nibbles, one a byte.
  inline __attribute__((always_inline)) void Open(const unsigned char* codes, const int32_t* x) {
    Add<true>(LoadGroup(codes), x);
#pragma GCC unroll 8
    for (int g = 1; g < kBlockWords; ++g) Add<false>(LoadGroup(codes + 64 * g), x + g);
  }

  // Codes as they are stored: all of 4 bits, or the high or low nibbles of 8 bits.
  inline __attribute__((always_inline)) void FourBits(const unsigned char* codes,
                                                      const int32_t* x) {
    AddPair<true>(codes, x);
#pragma GCC unroll 4
    for (int g = 1; g < 4; ++g) AddPair<false>(codes + 64 * g, x + g);
  }
  template <bool kHigh>
  inline __attribute__((always_inline)) void Nibbles(const unsigned char* codes, const int32_t* x) {
    Add<true>(NibblesOf<kHigh>(LoadGroup(codes)), x);
#pragma GCC unroll 8
    for (int g = 1; g < kBlockWords; ++g) {
      Add<false>(NibblesOf<kHigh>(LoadGroup(codes + 64 * g)), x + g);
    }
  }

 private:
  template <bool kHigh>
  static inline __attribute__((always_inline)) TwoVectors NibblesOf(const TwoVectors& raw) {
    if constexpr (kHigh) return {HighNibbles(raw.left), HighNibbles(raw.right)};
    return {LowNibbles(raw.left), LowNibbles(raw.right)};
  }

  template <bool kFirst>
  inline __attribute__((always_inline)) void AddPair(const unsigned char* codes, const int32_t* x) {
    const TwoVectors raw = LoadGroup(codes);
    Add<kFirst>(NibblesOf<false>(raw), x);
    Add<false>(NibblesOf<true>(raw), x + 4);
  }
};

inline __m256i SumPairs(__m256i sums, short times) {
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(times));
}

}  // namespace
}  // namespace keyhole
