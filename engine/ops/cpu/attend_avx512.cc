// Attention kernels for AVX-512: vectors of sixteen.
#include <immintrin.h>

#include "engine/ops/cpu/attend_kernels_impl.h"

namespace keyhole {
namespace {

struct Avx512 {
  static constexpr int kWidth = 16;
  static constexpr int kFewVectors = 4;
  static constexpr int kManyVectors = 4;
  using V = VectorTypes<kWidth>::V;

  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
  static inline float SumOf(V v) { return _mm512_reduce_add_ps(v); }
  static inline float MaxOf(V v) { return _mm512_reduce_max_ps(v); }

  static inline __m512 SumPairs(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  // Each group of four lanes: what is left to sum of four rows.
  static inline __m512 SumFour(const V* rows) {
    const __m512 a = SumPairs(rows[0], rows[1]);
    const __m512 b = SumPairs(rows[2], rows[3]);
    return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
  }
  static inline __m512 SumHalves(__m512 a, __m512 b) {
    return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
  }
  // Lane r: the sum of rows[r].
  static inline V SumRows(const V* rows) {
    return SumHalves(SumHalves(SumFour(rows), SumFour(rows + 4)),
                     SumHalves(SumFour(rows + 8), SumFour(rows + 12)));
  }
};

}  // namespace

AttendKernelSet AttendKernelsAvx512() { return MakeAttendKernels<Avx512>(); }

}  // namespace keyhole
