// Kernels of Linear for AVX-512 with VNNI: one instruction adds four products u8 * s8 in 32 bits.
#include <immintrin.h>

#include "engine/ops/cpu/linear_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx512Vnni : Vectors16 {
  static constexpr int kMaxRows = 12;
  static constexpr int kMaxRowsInt8 = 12;
  static constexpr int kRowsAtOnce = 6;
  static constexpr int kPanelsOneRow = 4;
  static constexpr int kSums = 24;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline V LoadHalf(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static inline void StoreBytes(I q, signed char* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(q)));
  }

  template <int kRows>
  static inline __attribute__((always_inline)) void Accumulate(__m512i weights,
                                                               const int32_t* x,
                                                               __m512i* sums) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      sums[r] = _mm512_dpbusd_epi32(sums[r], weights, _mm512_set1_epi32(x[r * kBlockWords]));
    }
  }

  template <int kBits, int kRows>
  static inline __attribute__((always_inline)) void DotBlock(const unsigned char* codes,
                                                             const int32_t* x,
                                                             const int32_t* start,
                                                             V (*out)[1]) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i sums[kRows];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) sums[r] = _mm512_set1_epi32(start[r]);
#pragma GCC unroll 8
    for (int g = 0; g < kBits; ++g) {
      const __m512i raw = _mm512_load_si512(codes + 64 * g);
      if constexpr (kBits == 8) {
        Accumulate<kRows>(raw, x + g, sums);
      } else {
        Accumulate<kRows>(_mm512_and_si512(raw, nibble), x + g, sums);
        const __m512i high = _mm512_and_si512(_mm512_srli_epi16(raw, 4), nibble);
        Accumulate<kRows>(high, x + g + 4, sums);
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) out[r][0] = _mm512_cvtepi32_ps(sums[r]);
  }
};

}  // namespace

LinearKernels LinearKernelsAvx512Vnni() { return LinearKernelsImpl<Avx512Vnni>::Set(); }

}  // namespace keyhole
