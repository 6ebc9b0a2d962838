// Kernels of Linear for AVX-512 without VNNI.
#include <immintrin.h>

#include "engine/ops/cpu/linear_dot_pairs.h"
#include "engine/ops/cpu/linear_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx512Bytes {
  using B = __m512i;
  using V = Vectors16::V;

  static inline B Load(const unsigned char* p) { return _mm512_load_si512(p); }
  static inline B LowNibbles(B b) { return _mm512_and_si512(b, _mm512_set1_epi8(15)); }
  static inline B HighNibbles(B b) { return LowNibbles(_mm512_srli_epi16(b, 4)); }
  static inline B MulPairs(B codes, B x) { return _mm512_maddubs_epi16(codes, x); }
  static inline B SumPairs(B b, short times) {
    return _mm512_madd_epi16(b, _mm512_set1_epi16(times));
  }
  static inline B Add16(B a, B b) { return _mm512_add_epi16(a, b); }
  static inline B Add32(B a, B b) { return _mm512_add_epi32(a, b); }
  static inline B Set32(int x) { return _mm512_set1_epi32(x); }
  static inline V ToFloat(B b) { return _mm512_cvtepi32_ps(b); }
};

struct Avx512 : Vectors16, PairDot<Avx512Bytes, 1> {
  using V = Vectors16::V;
  using I = Vectors16::I;
  static constexpr int kMaxRows = 12;
  static constexpr int kMaxRowsInt8 = 8;
  static constexpr int kRowsAtOnce = 8;
  static constexpr int kPanelsOneRow = 2;
  static constexpr int kSums = 24;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline V LoadHalf(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static inline void StoreBytes(I q, signed char* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                     _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(q)));
  }
};

}  // namespace

LinearKernels LinearKernelsAvx512() { return LinearKernelsImpl<Avx512>::Set(); }

}  // namespace keyhole
