// How every kernel is launched.
#pragma once

#include <cuda_runtime.h>

#include <type_traits>

namespace keyhole::cuda {

constexpr int kWarpLanes = 32;
constexpr unsigned kAllLanes = 0xFFFFFFFFU;

template <typename T>
constexpr T CeilDiv(T a, T b) {
  return (a + b - 1) / b;
}

template <typename Args>
cudaError_t Launch(
    void (*kernel)(Args), dim3 grid, int n_threads, cudaStream_t stream, const Args& args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(n_threads);
  config.stream = stream;
  return cudaLaunchKernelEx(&config, kernel, args);
}

}  // namespace keyhole::cuda
