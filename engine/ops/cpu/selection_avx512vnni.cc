// Selection kernels for AVX-512 with VNNI: one instruction adds four products u8 * s8 in 32 bits.
#include <immintrin.h>

#include "engine/ops/cpu/selection_kernels_impl.h"
#include "engine/ops/cpu/selection_vectors16.h"

namespace keyhole {
namespace {

struct Avx512Vnni : SelectionVectors16 {
  static constexpr int kWords = 1;

  template <int kCount>
  static inline __attribute__((always_inline)) void Dot(const unsigned char* digests,
                                                        int n_quads,
                                                        const int32_t* codes,
                                                        const int32_t* start,
                                                        I (*sums)[1]) {
    __m512i totals[kCount];
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) totals[i] = _mm512_set1_epi32(start[i]);
    for (int quad = 0; quad < n_quads; ++quad) {
      const __m512i four = _mm512_load_si512(digests + 64 * quad);
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
        totals[i] =
            _mm512_dpbusd_epi32(totals[i], four, _mm512_set1_epi32(codes[quad * kCount + i]));
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) sums[i][0] = reinterpret_cast<I>(totals[i]);
  }

  // The planes of 16 tokens times the words of each query.
  template <int kLines, int kCount>
  static inline __attribute__((always_inline)) void CoarseDot(const unsigned char* lines,
                                                              const int32_t* codes,
                                                              I (*sums)[1]) {
    constexpr int kPlanes = CoarsePlanes(kLines);
    __m512i totals[kCount];
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) totals[i] = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int p = 0; p < kPlanes; ++p) {
      const CoarsePlane plane = CoarsePlaneAt(p);
      const __m512i line = _mm512_load_si512(lines + 64 * plane.line);
      const __m512i shifted =
          plane.shift < 0 ? _mm512_slli_epi16(line, 1) : _mm512_srli_epi16(line, plane.shift);
      const __m512i values =
          _mm512_and_si512(shifted, _mm512_set1_epi8(static_cast<char>(plane.mask)));
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        totals[i] =
            _mm512_dpbusd_epi32(totals[i], values, _mm512_set1_epi32(codes[i * kPlanes + p]));
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) sums[i][0] = reinterpret_cast<I>(totals[i]);
  }
};

}  // namespace

SelectionKernels SelectionKernelsAvx512Vnni() { return MakeSelectionKernels<Avx512Vnni>(); }

}  // namespace keyhole
