// Reductions over a warp and a block, in an order that is always the same.
#pragma once

#include <cuda_runtime.h>

#include "engine/ops/cuda/kernels/launch.h"

namespace keyhole::cuda {

struct Sum {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Max {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

// Over aligned runs of kWidth lanes; every lane gets the result.
template <int kWidth = kWarpLanes, typename T, typename Op>
__device__ T WarpReduce(T x, Op op) {
#pragma unroll
  for (int mask = kWidth / 2; mask > 0; mask /= 2) x = op(x, __shfl_xor_sync(kAllLanes, x, mask));
  return x;
}

// Over a block of kThreads; every thread gets the result. `scratch` [kThreads / 32] is shared
// memory of this reduction alone until the next barrier.
template <int kThreads, typename T, typename Op>
__device__ T BlockReduce(T x, Op op, T* scratch) {
  x = WarpReduce(x, op);
  if (threadIdx.x % kWarpLanes == 0) scratch[threadIdx.x / kWarpLanes] = x;
  __syncthreads();
  x = scratch[0];
#pragma unroll
  for (int warp = 1; warp < kThreads / kWarpLanes; ++warp) x = op(x, scratch[warp]);
  return x;
}

// Sum of the values of the lanes before this one.
template <typename T>
__device__ T WarpPrefix(T x) {
  const int lane = threadIdx.x % kWarpLanes;
  T sum = x;
#pragma unroll
  for (int step = 1; step < kWarpLanes; step *= 2) {
    const T other = __shfl_up_sync(kAllLanes, sum, step);
    if (lane >= step) sum += other;
  }
  return sum - x;
}

// Sum of the values of a block's threads before this one; `total` becomes that of all. `scratch`
// as in BlockReduce.
template <int kThreads, typename T>
__device__ T BlockPrefix(T x, T& total, T* scratch) {
  constexpr int kWarps = kThreads / kWarpLanes;
  const int lane = threadIdx.x % kWarpLanes;
  const T in_warp = WarpPrefix(x);
  if (lane == kWarpLanes - 1) scratch[threadIdx.x / kWarpLanes] = in_warp + x;
  __syncthreads();
  const T of_warp = lane < kWarps ? scratch[lane] : 0;
  const T before = WarpPrefix(of_warp);
  total = __shfl_sync(kAllLanes, before + of_warp, kWarps - 1);
  return __shfl_sync(kAllLanes, before, static_cast<int>(threadIdx.x) / kWarpLanes) + in_warp;
}

}  // namespace keyhole::cuda
