// Selection kernels for AVX-512 with VNNI: one instruction adds four products u8 * s8 in 32 bits.
#include <immintrin.h>

#include "engine/ops/cpu/selection_kernels_impl.h"
#include "engine/ops/cpu/selection_vectors16.h"

namespace keyhole {
namespace {

struct Avx512Vnni : SelectionVectors16 {
  static constexpr int kWords = 1;

  template <int kCount, class Quads>
  static inline __attribute__((always_inline)) void Dot(const unsigned char* digests,
                                                        const Quads& quads,
                                                        const int32_t* codes,
                                                        const int32_t* start,
                                                        I (*sums)[1]) {
    __m512i totals[kCount];
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) totals[i] = _mm512_set1_epi32(start[i]);
    for (int quad = 0; quad < quads.count(); ++quad) {
      const __m512i four = _mm512_load_si512(digests + quads.offset(quad));
#pragma GCC unroll 16
      for (int i = 0; i < kCount; ++i) {
        totals[i] =
            _mm512_dpbusd_epi32(totals[i], four, _mm512_set1_epi32(codes[quad * kCount + i]));
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) sums[i][0] = reinterpret_cast<I>(totals[i]);
  }
};

}  // namespace

SelectionKernels SelectionKernelsAvx512Vnni() { return MakeSelectionKernels<Avx512Vnni>(); }

}  // namespace keyhole
