// The few instructions that C++ has no name for. Source: the PTX ISA, "Warp-level matrix
// instructions" and "Asynchronous copy".
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace keyhole::cuda {

// d += a b: a [16, 16] by rows, b [16, 8] by columns, bf16; d [16, 8] f32. With g = lane / 4 and
// t = lane % 4 a lane holds of a: rows g and g + 8, columns 2t and 2t + 1, then 2t + 8 and 2t + 9;
// of b: rows 2t and 2t + 1, then 2t + 8 and 2t + 9 of column g; of d: rows g, then g + 8, of
// columns 2t and 2t + 1.
__device__ inline void MmaBf16(float (&d)[4],
                               const std::uint32_t (&a)[4],
                               std::uint32_t b0,
                               std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices [8, 8] of 16-bit values from shared memory: lane i points at row i % 8 of matrix
// i / 8, 16 bytes, aligned. A lane gets of each matrix row g, columns 2t and 2t + 1.
__device__ inline void LoadMatrices(std::uint32_t (&m)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// The same transposed: a lane gets of each matrix column g, rows 2t and 2t + 1.
__device__ inline void LoadMatricesTransposed(std::uint32_t (&m)[4], const void* row) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address)
               : "memory");
}

// 2^x, relative error up to 2^-22. What is below 2^-126 is zero.
__device__ inline float Exp2(float x) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
}

// PackBf16 in one instruction, but that every NaN is the same one.
__device__ inline std::uint32_t RoundToBf16(float first, float second) {
  std::uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}

// Writes 16 aligned bytes of any type.
__device__ inline void Store16(void* to, uint4 value) { *static_cast<uint4*>(to) = value; }

// Starts a copy of 16 aligned bytes from global to shared memory.
__device__ inline void CopyAsync16(void* to, const void* from) {
  const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(address), "l"(from) : "memory");
}

// Ends a group of this thread's copies.
__device__ inline void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the kLater newest groups of this thread are still on their way.
template <int kLater>
__device__ inline void WaitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLater) : "memory");
}

// 16, or 8, aligned bytes that this kernel reads once and nobody writes meanwhile.
__device__ inline uint4 LoadOnce16(const void* from) {
  uint4 x;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(from));
  return x;
}
__device__ inline uint2 LoadOnce8(const void* from) {
  uint2 x;
  asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0,%1}, [%2];"
               : "=r"(x.x), "=r"(x.y)
               : "l"(from));
  return x;
}

}  // namespace keyhole::cuda
