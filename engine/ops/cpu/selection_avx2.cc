// Selection kernels for AVX2 and FMA: vectors of eight.
#include <immintrin.h>

#include "engine/ops/cpu/byte_products_avx2.h"
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
  static inline B MulBytes(B a, B b) { return _mm256_maddubs_epi16(a, b); }
  static inline B Double16(B b) { return _mm256_slli_epi16(b, 1); }
  static inline B Right16(B b, int n) { return _mm256_srli_epi16(b, n); }
  static inline B And8(B b, int mask) {
    return _mm256_and_si256(b, _mm256_set1_epi8(static_cast<char>(mask)));
  }
  static inline B Add16(B a, B b) { return _mm256_add_epi16(a, b); }
  static inline B Add32(B a, B b) { return _mm256_add_epi32(a, b); }
  static inline B Set32(int x) { return _mm256_set1_epi32(x); }
};

struct Avx2 : SumRowsAvx2, SelectionDotPairs<Avx2Pairs> {
  static constexpr int kWidth = 8;
  static constexpr int kMaxQueries = 4;
  using I = VectorTypes<kWidth>::I;

  // As SelectionDotPairs' own, for all tokens at a time: a query's words are read once.
  template <int kLines, int kCount>
  static inline __attribute__((always_inline)) void CoarseDot(const unsigned char* lines,
                                                              const int32_t* codes,
                                                              I (*sums)[kVectors]) {
    constexpr int kPlanes = CoarsePlanes(kLines);
    __m256i totals[kCount][kVectors];
#pragma GCC unroll 16
    for (int p = 0; p < kPlanes; ++p) {
      const TwoVectors plane = {PlaneOf(lines, p), PlaneOf(lines + kBytes, p)};
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        const __m256i query = _mm256_set1_epi32(codes[i * kPlanes + p]);
        if (p == 0) {
          totals[i][0] = _mm256_maddubs_epi16(plane.left, query);
          totals[i][1] = _mm256_maddubs_epi16(plane.right, query);
        } else {
          AddProducts(plane, query, totals[i]);
        }
      }
    }
#pragma GCC unroll 8
    for (int i = 0; i < kCount * kVectors; ++i) {
      sums[i / kVectors][i % kVectors] = reinterpret_cast<I>(
          _mm256_madd_epi16(totals[i / kVectors][i % kVectors], _mm256_set1_epi16(1)));
    }
  }
  static inline __attribute__((always_inline)) __m256i PlaneOf(const unsigned char* lines, int p) {
    const CoarsePlane plane = CoarsePlaneAt(p);
    const __m256i line = Avx2Pairs::Load(lines + 64 * plane.line);
    return Avx2Pairs::And8(
        plane.shift < 0 ? Avx2Pairs::Double16(line) : Avx2Pairs::Right16(line, plane.shift),
        plane.mask);
  }

  static inline V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
  static inline V Larger(V a, V b) { return _mm256_max_ps(a, b); }
  // Lane r: the largest of rows[r].
  static inline I LargestOfRows(const I* rows) {
    const __m256i a = LargerFours(rows);
    const __m256i b = LargerFours(rows + 4);
    return reinterpret_cast<I>(_mm256_max_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                                                _mm256_permute2x128_si256(a, b, 0x31)));
  }
  static inline __m256i LargerFours(const I* rows) {
    const __m256i a = LargerPairs(rows[0], rows[1]);
    const __m256i b = LargerPairs(rows[2], rows[3]);
    return _mm256_max_epi32(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
  }
  static inline __m256i LargerPairs(I a, I b) {
    const auto x = reinterpret_cast<__m256i>(a);
    const auto y = reinterpret_cast<__m256i>(b);
    return _mm256_max_epi32(_mm256_unpacklo_epi32(x, y), _mm256_unpackhi_epi32(x, y));
  }

  static inline unsigned MaskBits(I mask) {
    return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(mask)));
  }
};

}  // namespace

SelectionKernels SelectionKernelsAvx2() { return MakeSelectionKernels<Avx2>(); }

}  // namespace keyhole
