// Heads of rows in int8: codes, then the scale that makes values of them.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstdint>

#include "engine/ops/cuda/kernels/reduce.h"

namespace keyhole::cuda {

__device__ inline float Int8Scale(const unsigned char* head, int head_dim) {
  return *reinterpret_cast<const float*>(head + head_dim);
}

__device__ inline float LoadInt8(const unsigned char* head, int at, float scale) {
  return scale * static_cast<float>(reinterpret_cast<const std::int8_t*>(head)[at]);
}

// Code `i` of the four in a word.
__device__ inline float Int8Code(std::uint32_t word, int i) {
  return static_cast<float>(static_cast<std::int8_t>(word >> (i * 8)));
}

// A warp writes one head: value(i) of each element. The scale makes 127 of the largest magnitude; a
// value that is not finite makes it none.
template <typename Value>
__device__ void StoreInt8(unsigned char* head, int head_dim, const Value& value) {
  const int lane = threadIdx.x % kWarpLanes;
  float top = 0;
  float zero = 0;  // else one of the values is not finite
  for (int i = lane; i < head_dim; i += kWarpLanes) {
    top = fmaxf(top, fabsf(value(i)));
    zero += value(i) * 0;
  }
  top = WarpReduce(top, Max{});
  zero = WarpReduce(zero, Sum{});
  const bool finite = zero == 0;
  const float scale = top / 127;
  const float to_code = 1 / scale;
  const bool codes = finite && to_code * 0 == 0;  // 0 of no magnitude, and of the smallest
  for (int i = lane; i < head_dim; i += kWarpLanes) {
    head[i] = static_cast<unsigned char>(codes ? __float2int_rn(value(i) * to_code) : 0);
  }
  constexpr float kNone = std::bit_cast<float>(0x7FC00000U);
  if (lane == 0) *reinterpret_cast<float*>(head + head_dim) = finite ? scale : kNone;
}

}  // namespace keyhole::cuda
