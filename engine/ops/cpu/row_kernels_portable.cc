// Row kernels for any processor.
#include "engine/ops/cpu/row_kernels_impl.h"
#include "engine/ops/cpu/vector_types.h"

namespace keyhole {
namespace {

struct Portable : Vectors4 {
  static inline V MulAdd(V a, V b, V c) { return a * b + c; }
};

}  // namespace

RowKernels RowKernelsPortable() { return RowKernelsImpl<Portable>::Set(); }

}  // namespace keyhole
