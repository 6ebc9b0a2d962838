// Attention kernels for any processor: vectors of four.
#include "engine/ops/cpu/attend_kernels_impl.h"

namespace keyhole {
namespace {

struct Portable {
  static constexpr int kWidth = 4;
  static constexpr int kFewVectors = 2;
  static constexpr int kManyVectors = 2;
  using V = VectorTypes<kWidth>::V;

  static inline V MulAdd(V a, V b, V c) { return a * b + c; }
  static inline float SumOf(V v) { return (v[0] + v[2]) + (v[1] + v[3]); }
  static inline float MaxOf(V v) {
    const float a = v[0] > v[2] ? v[0] : v[2];
    const float b = v[1] > v[3] ? v[1] : v[3];
    return a > b ? a : b;
  }
  // Lane r: the sum of rows[r].
  static inline V SumRows(const V* rows) {
    return V{SumOf(rows[0]), SumOf(rows[1]), SumOf(rows[2]), SumOf(rows[3])};
  }
};

}  // namespace

AttendKernelSet AttendKernelsPortable() { return MakeAttendKernels<Portable>(); }

}  // namespace keyhole
