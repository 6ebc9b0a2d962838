// What the blocks of one kernel found, each a list of its own, for one block of the next kernel.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {

template <typename T>
struct Lists {
  const T* items;             // of list i: from i * stride on
  const std::int32_t* sizes;  // [n]
  std::int32_t n;
  std::int32_t stride;
};

// Items [begin, begin + kEach) of lists that begin at `begins` [kLists + 1] of all items; behind
// the last item, values. All of them are on their way before the first is looked at.
template <int kLists, int kEach, typename T>
__device__ void LoadRun(const T* items,
                        std::int32_t stride,
                        const std::int32_t* begins,
                        std::int32_t begin,
                        T (&run)[kEach]) {
  const std::int32_t total = begins[kLists];
  std::int32_t list = 0;
  for (int step = kLists / 2; step > 0; step /= 2) {
    if (begins[list + step] <= begin) list += step;
  }
  const T* from = items + std::int64_t{list} * stride - begins[list];
  std::int32_t end = begins[list + 1];
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    run[i] = {};
    const std::int32_t at = begin + i;
    if (at >= total) continue;
    if (at >= end) {
      while (at >= end) end = begins[++list + 1];
      from = items + std::int64_t{list} * stride - begins[list];
    }
    run[i] = from[at];
  }
}

// A block of kThreads goes through all lists as if they were one: each thread gets runs of kEach
// neighbours, and those of the threads follow each other. Where there is none, an item is T{}.
// `visit(run)` of all threads; a barrier lies between two of them. It ends where that is false, the
// same for all threads.
template <int kThreads, int kEach, typename T, typename Visit>
__device__ void ForEachRun(const Lists<T>& lists, const Visit& visit) {
  __shared__ std::int32_t begins[kThreads + 1];
  __shared__ std::int32_t scratch[kThreads / kWarpLanes];
  const auto thread = static_cast<std::int32_t>(threadIdx.x);
  for (std::int32_t first = 0; first < lists.n; first += kThreads) {
    const std::int32_t size = first + thread < lists.n ? lists.sizes[first + thread] : 0;
    std::int32_t total = 0;
    begins[thread] = BlockPrefix<kThreads>(size, total, scratch);
    if (thread == 0) begins[kThreads] = total;
    __syncthreads();
    for (std::int32_t at = 0; at < total; at += kThreads * kEach) {
      T run[kEach];
      LoadRun<kThreads>(lists.items + std::int64_t{first} * lists.stride,
                        lists.stride,
                        begins,
                        at + thread * kEach,
                        run);
      const bool more = visit(run);
      __syncthreads();
      if (!more) return;
    }
  }
}

}  // namespace keyhole::cuda
