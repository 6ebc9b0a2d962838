// Row kernels for AVX2 and FMA.
#include <immintrin.h>

#include "engine/ops/cpu/row_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx2 : Vectors8 {
  static inline V MulAdd(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
};

}  // namespace

RowKernels RowKernelsAvx2() { return RowKernelsImpl<Avx2>::Set(); }

}  // namespace keyhole
