// Kernels of the operators that treat every row by itself, one set per instruction set. Plain C++:
// see row_kernels_impl.h.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace keyhole {

struct RmsNormTask {
  const float* x;       // [n_rows, n]
  const float* weight;  // [n]
  float* out;           // like x, may be x
  int64_t n_rows;
  int64_t n;
  double eps;
};

struct RopeTask {
  const float* x;    // [n_rows, n_heads, 2 * half]
  const float* cos;  // [n_positions, half]
  const float* sin;
  const int32_t* index;  // [n_rows]
  float* out;            // like x, may be x
  int64_t n_rows;
  int64_t n_heads;
  int64_t half;
};

struct SiluMulTask {
  const float* gate_up;  // [n_rows, 2 * n]
  float* out;            // [n_rows, n]
  int64_t n_rows;
  int64_t n;
};

struct AddTask {
  float* x;  // [n]
  const float* y;
  int64_t n;
};

struct RowKernels {
  void (*rms_norm)(const RmsNormTask&);
  void (*rope)(const RopeTask&);
  void (*silu_mul)(const SiluMulTask&);
  void (*add)(const AddTask&);
};

RowKernels RowKernelsPortable();
RowKernels RowKernelsAvx2();
RowKernels RowKernelsAvx512();

}  // namespace keyhole
