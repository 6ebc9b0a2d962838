// Row kernels for AVX-512.
#include <immintrin.h>

#include "engine/ops/cpu/row_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Avx512 : Vectors16 {
  static inline V MulAdd(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
};

}  // namespace

RowKernels RowKernelsAvx512() { return RowKernelsImpl<Avx512>::Set(); }

}  // namespace keyhole
