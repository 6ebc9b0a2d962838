// Tensors that are used again from call to call.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdint>

namespace keyhole {

// The first n f32 values of `buffer`, which grows to the largest n so far. Unset at first.
inline at::Tensor RoomFor(at::Tensor& buffer, std::int64_t n) {
  if (!buffer.defined() || buffer.numel() < n) buffer = at::empty({n}, at::kFloat);
  return buffer.narrow(0, 0, n);
}

}  // namespace keyhole
