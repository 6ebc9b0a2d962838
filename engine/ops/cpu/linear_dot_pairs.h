// Integer products of a block with the byte-pair instructions of AVX-512 BW. `Bytes` gives a vector
// of bytes B and these instructions. AVX2, with half the registers, has linear_dot_avx2.h.
//
// The instruction adds two products u8 * s8 in 16 bits with saturation. Codes of 4 bits stay far
// below: eight groups sum to at most 8 * 2 * 15 * 127 = 30480. Codes of 8 bits are taken as two
// nibbles.
#pragma once

#include "engine/ops/cpu/linear_kernels.h"

namespace keyhole {
namespace {

template <class Bytes, int kVectors>
struct PairDot {
  using B = typename Bytes::B;
  using V = typename Bytes::V;
  static constexpr int kBytes = static_cast<int>(sizeof(B));

  template <int kRows>
  static inline __attribute__((always_inline)) void Accumulate(B weights,
                                                               const int32_t* x,
                                                               int v,
                                                               B (*sums)[kVectors]) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      sums[r][v] =
          Bytes::Add16(sums[r][v], Bytes::MulPairs(weights, Bytes::Set32(x[r * kBlockWords])));
    }
  }

  template <int kRows>
  static inline __attribute__((always_inline)) void Clear(B (*sums)[kVectors]) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sums[r][v] = Bytes::Set32(0);
    }
  }

  template <int kBits, int kRows>
  static inline __attribute__((always_inline)) void DotBlock(const unsigned char* codes,
                                                             const int32_t* x,
                                                             const int32_t* start,
                                                             V (*out)[kVectors]) {
    B low[kRows][kVectors];
    B high[kRows][kVectors];
    Clear<kRows>(low);
    if constexpr (kBits == 8) Clear<kRows>(high);
#pragma GCC unroll 8
    for (int g = 0; g < kBits; ++g) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const B raw = Bytes::Load(codes + (g * kVectors + v) * kBytes);
        Accumulate<kRows>(Bytes::LowNibbles(raw), x + g, v, low);
        if constexpr (kBits == 8) {
          Accumulate<kRows>(Bytes::HighNibbles(raw), x + g, v, high);
        } else {
          Accumulate<kRows>(Bytes::HighNibbles(raw), x + g + 4, v, low);
        }
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        B sum = Bytes::Add32(Bytes::SumPairs(low[r][v], 1), Bytes::Set32(start[r]));
        if constexpr (kBits == 8) sum = Bytes::Add32(sum, Bytes::SumPairs(high[r][v], 16));
        out[r][v] = Bytes::ToFloat(sum);
      }
    }
  }
};

}  // namespace
}  // namespace keyhole
