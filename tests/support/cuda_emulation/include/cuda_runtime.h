// What kernels are written with, emulated on the CPU: see emulation.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "cuda_runtime_api.h"
#include "tests/support/cuda_emulation/emulation.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static  // blocks run one after another

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  constexpr dim3(unsigned x_in = 1, unsigned y_in = 1, unsigned z_in = 1)
      : x(x_in), y(y_in), z(z_in) {}
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;

inline void __syncthreads() { cuda_emulation::SyncBlock(); }
inline void __threadfence() {}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFU) {
  const char nothing = 0;
  cuda_emulation::Exchange(mask, 1, &nothing, 1);
}

template <typename T>
T FromLane(cuda_emulation::Slots slots, unsigned lane) {
  T value;
  std::memcpy(&value, slots[lane], sizeof(T));
  return value;
}
template <typename T>
T __shfl_sync(unsigned mask, T x, int lane) {
  return FromLane<T>(cuda_emulation::Exchange(mask, 2, &x, sizeof(T)), lane & 31);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T x, int lanes) {
  return FromLane<T>(cuda_emulation::Exchange(mask, 3, &x, sizeof(T)),
                     cuda_emulation::Lane() ^ lanes);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T x, unsigned step) {
  const unsigned lane = cuda_emulation::Lane();
  const cuda_emulation::Slots slots = cuda_emulation::Exchange(mask, 4, &x, sizeof(T));
  return FromLane<T>(slots, lane < step ? lane : lane - step);
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  const cuda_emulation::Slots slots =
      cuda_emulation::Exchange(mask, 5, &predicate, sizeof(predicate));
  unsigned bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) {
    bits |= static_cast<unsigned>(FromLane<int>(slots, lane) != 0) << lane;
  }
  return bits;
}

template <typename T>
T __ldg(const T* at) {
  return *at;
}

template <typename T>
T atomicAdd(T* at, T x) {
  const T old = *at;
  *at += x;
  return old;
}

template <typename T>
T atomicMax(T* at, T x) {
  const T old = *at;
  *at = std::max(old, x);
  return old;
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::lrint(x)); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) {
    c += static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i);
  }
  return c;
}

struct cudaLaunchConfig_t {
  dim3 gridDim;
  dim3 blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
};

template <typename... Params, typename... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config,
                               void (*kernel)(Params...),
                               Args&&... args) {
  const dim3 grid = config->gridDim;
  const bool fits = grid.x > 0 && grid.x < (1U << 31) && grid.y > 0 && grid.y < 65536 &&
                    grid.z > 0 && grid.z < 65536 && config->blockDim.x > 0 &&
                    config->blockDim.x <= 1024;
  if (!fits) return cudaErrorInvalidConfiguration;
  if (const int error = cuda_emulation::TakeFailure(cuda_emulation::Call::kLaunch); error != 0) {
    return static_cast<cudaError_t>(error);
  }
  return cuda_emulation::Queue(config->stream, [=, n_threads = config->blockDim.x] {
    cuda_emulation::RunGrid({grid.x, grid.y, grid.z}, n_threads, [&] { kernel(args...); });
  });
}
