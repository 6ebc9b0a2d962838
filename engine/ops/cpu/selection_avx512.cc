// Selection kernels for AVX-512 without VNNI.
#include <immintrin.h>

#include "engine/ops/cpu/selection_dot_pairs.h"
#include "engine/ops/cpu/selection_kernels_impl.h"
#include "engine/ops/cpu/selection_vectors16.h"

namespace keyhole {
namespace {

struct Avx512Pairs {
  using B = __m512i;

  static inline B Load(const unsigned char* p) { return _mm512_load_si512(p); }
  static inline B EvenBytes(B b) { return _mm512_and_si512(b, _mm512_set1_epi16(255)); }
  static inline B OddBytes(B b) { return _mm512_srli_epi16(b, 8); }
  static inline B MulPairs(B a, B b) { return _mm512_madd_epi16(a, b); }
  static inline B MulBytes(B a, B b) { return _mm512_maddubs_epi16(a, b); }
  static inline B Double16(B b) { return _mm512_slli_epi16(b, 1); }
  static inline B Right16(B b, int n) { return _mm512_srli_epi16(b, n); }
  static inline B And8(B b, int mask) {
    return _mm512_and_si512(b, _mm512_set1_epi8(static_cast<char>(mask)));
  }
  static inline B Add16(B a, B b) { return _mm512_add_epi16(a, b); }
  static inline B Add32(B a, B b) { return _mm512_add_epi32(a, b); }
  static inline B Set32(int x) { return _mm512_set1_epi32(x); }
};

struct Avx512 : SelectionVectors16, SelectionDotPairs<Avx512Pairs> {};

}  // namespace

SelectionKernels SelectionKernelsAvx512() { return MakeSelectionKernels<Avx512>(); }

}  // namespace keyhole
