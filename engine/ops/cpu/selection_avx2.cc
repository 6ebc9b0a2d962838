// Selection kernels for AVX2 and FMA: vectors of eight.
#include <immintrin.h>

#include "engine/ops/cpu/selection_dot_pairs.h"
#include "engine/ops/cpu/selection_kernels_impl.h"
#include "engine/ops/cpu/sum_rows_avx2.h"

namespace keyhole {
namespace {

struct Avx2Pairs {
  using B = __m256i;

  static inline B Load(const unsigned char* p) {
    return _mm256_load_si256(reinterpret_cast<const B*>(p));
  }
  static inline B EvenBytes(B b) { return _mm256_and_si256(b, _mm256_set1_epi16(255)); }
  static inline B OddBytes(B b) { return _mm256_srli_epi16(b, 8); }
  static inline B MulPairs(B a, B b) { return _mm256_madd_epi16(a, b); }
  static inline B Add32(B a, B b) { return _mm256_add_epi32(a, b); }
  static inline B Set32(int x) { return _mm256_set1_epi32(x); }
};

struct Avx2 : SumRowsAvx2, SelectionDotPairs<Avx2Pairs> {
  static constexpr int kWidth = 8;
  static constexpr int kMaxQueries = 4;
  using I = VectorTypes<kWidth>::I;

  static inline V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static inline V Larger(V a, V b) { return _mm256_max_ps(a, b); }
  static inline unsigned MaskBits(I mask) {
    return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
  }
};

}  // namespace

SelectionKernels SelectionKernelsAvx2() { return MakeSelectionKernels<Avx2>(); }

}  // namespace keyhole
